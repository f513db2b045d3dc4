"""Which samples a layer is given, with what before and behind it: known by its name, or found by trying."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from . import tables
from .case import Tree, experiment, head

REQUIRED: Mapping[str, Any] = {
    "units": 3,
    "filters": 2,
    "kernel_size": 2,
    "rate": 0.3,
    "stddev": 0.3,
    "output_size": 2,
    "pool_size": 2,
    "factor": 0.3,
    "height": 5,
    "width": 5,
    "height_factor": 0.2,
    "width_factor": 0.2,
    "cell": {"SimpleRNNCell": {"units": 3}},
    "cells": [{"SimpleRNNCell": {"units": 3}}, {"SimpleRNNCell": {"units": 2}}],
    "layer": {"Dense": {"units": 3}},
    "layers": [{"RandomBrightness": {"factor": 0.2}}],
    "n": 3,
    "dims": [2, 1],
    "target_shape": [3, 2],
    "num_bins": 6,
    "equation": "ab,bc->ac",
    "output_shape": 3,
    "input_dim": 10,
    "output_dim": 3,
    "num_heads": 2,
    "key_dim": 3,
    "head_dim": 3,
    "num_query_heads": 2,
    "num_key_value_heads": 1,
    "axes": 1,
    "scale": 0.5,
    "activation": "relu",
    "max_number": 3,
    "cropping": 1,
}
"""A value for each argument that has no default."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a layer stands. kind: of the samples. before, behind: layers around it.

    given: its arguments beside those that are required. sources: how many tensors it takes; names: by which arguments.
    """

    kind: str
    before: tuple[Any, ...] = ()
    behind: tuple[Any, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict)
    sources: int = 1
    names: tuple[str, ...] = ()


_CAST = ({"Rescaling": {"scale": 0.5}},)
"""What makes floats of whole numbers, for the layers behind."""

_TWO = Place("sequence", sources=2)
_TOKENS = Place("numbers", behind=_CAST)

PLACES: Mapping[str, Place] = {
    **dict.fromkeys(("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract", "Dot"), _TWO),
    **dict.fromkeys(("Attention", "AdditiveAttention"), _TWO),
    **dict.fromkeys(
        ("MultiHeadAttention", "GroupQueryAttention"), Place("sequence", sources=2, names=("query", "value"))
    ),
    **dict.fromkeys(
        ("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "Masking", "TimeDistributed"), Place("sequence")
    ),
    "Bidirectional": Place("sequence", given={"layer": {"SimpleRNN": {"units": 3}}}),
    "TimeDistributed": Place("sequence"),
    "SpectralNormalization": Place("dense"),
    "ConvLSTM1D": Place("strips"),
    "ConvLSTM2D": Place("video"),
    "ConvLSTM3D": Place("volumes"),
    "Embedding": Place("numbers"),
    "ReversibleEmbedding": Place("numbers"),
    "CategoryEncoding": Place("numbers", behind=_CAST, given={"num_tokens": 10}),
    "Hashing": _TOKENS,
    "IntegerLookup": Place("numbers", behind=_CAST, given={"vocabulary": [1, 2, 3, 4]}),
    "Discretization": Place("dense", behind=_CAST, given={"bin_boundaries": [-1.0, 0.0, 1.0]}),
    "Normalization": Place("dense", given={"mean": 0.5, "variance": 2.0}),
    "Permute": Place("sequence"),
    "RepeatVector": Place("dense"),
    "Reshape": Place("dense"),
    "EinsumDense": Place("dense"),
    "GroupNormalization": Place("picture", given={"groups": 2}),
    "MelSpectrogram": Place(
        "audio", given={"fft_length": 16, "sequence_stride": 8, "num_mel_bins": 4, "sampling_rate": 1000}
    ),
    "STFTSpectrogram": Place(
        "wide", before=({"Permute": {"dims": [2, 1]}},), given={"frame_length": 16, "frame_step": 8}
    ),
    "Pipeline": Place("rgb"),
    "Cropping1D": Place("sequence5"),
    "Cropping2D": Place("picture"),
    "Cropping3D": Place("volume"),
    "Resizing": Place("picture"),
    "RandomPosterization": Place("rgb", given={"factor": 4}),
    "RandomCrop": Place("rgb", behind=({"GlobalAveragePooling2D": {}},)),
    "CenterCrop": Place("picture"),
    "UnitNormalization": Place("dense"),
    "SpatialDropout1D": Place("sequence"),
}

_GENERIC = ("dense", "sequence", "picture", "volume", "numbers", "rgb", "audio", "video")


def place_of(name: str) -> Place | None:
    """Where the layer may stand; None where no input was found that Keras builds it on."""
    if name in PLACES:
        return PLACES[name]
    if re.match(r"(Random|RandAugment|AugMix|AutoContrast|Contrast|Equalization|MixUp|CutMix|Solarization)", name):
        return Place("rgb")
    for ending, kind in (
        ("1D", "sequence5"),
        ("2D", "picture"),
        ("3D", "volume"),
        ("1DTranspose", "sequence5"),
        ("2DTranspose", "picture"),
        ("3DTranspose", "volume"),
    ):
        if name.endswith(ending):
            return Place(kind)
    return _by_trying(name)


@cache
def _by_trying(name: str) -> Place | None:
    """The first kind of input on which the layer, with its required arguments alone, can be built and trained on."""
    from . import plain, samples

    places = [Place(kind) for kind in _GENERIC] + [Place(kind, behind=_CAST) for kind in _GENERIC]
    places += [_TWO, Place("sequence", sources=2, names=("query", "value"))]
    for place in places:
        tree = around(name, {}, place)
        try:
            net = plain.model(tree, samples.parts(place.kind, "classes")["train"][0][:2])
            net(samples.parts(place.kind, "classes")["train"][0][:2])
        except Exception:  # noqa: BLE001  # whatever a layer raises on samples that are not for it
            continue
        if net.trainable_variables:
            return place
    return None


def required(kind: str, name: str) -> Tree:
    """A value for each argument that the class can't do without; KeyError where none is known."""
    missing = [key for key, facts in tables.arguments(kind, name).items() if "default" not in facts]
    return {key: REQUIRED.get(key, 1) for key in missing}


def around(name: str, given: Mapping[str, Any], place: Place, **trained: Any) -> Tree:
    """An experiment in which the layer stands in its place. given: its arguments beside those it needs."""
    arguments = {**required("layers", name), **place.given, **given}
    behind = [*place.behind, "Flatten", head()]
    if place.sources == 1:
        return experiment([*place.before, {name: arguments}, *behind], **trained)
    first = {"Conv1D": {"filters": 3, "kernel_size": 1, "name": "a", "from": "input"}}
    second = {"Conv1D": {"filters": 3, "kernel_size": 1, "activation": "tanh", "name": "b", "from": "input"}}
    source: Any = dict(zip(place.names, ("a", "b"), strict=True)) if place.names else ["a", "b"]
    return experiment([first, second, {name: {**arguments, "from": source}}, *behind], **trained)
