"""`preset`: a model with a search space of its own, written out as layers and domains before anything is checked.

So everything after this knows layers alone, and `hptune plan` shows what a preset is. What the user fixes stays fixed,
and a parameter that the user declares keeps the user's domain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hptune.base.errors import Problem
from hptune.experiment.checks.built import pictures
from hptune.experiment.keras_table import OUTPUT
from hptune.experiment.model import MODEL_KINDS, PresetModel
from hptune.experiment.reading.problems import validate
from hptune.experiment.space.references import Ref

Options = Mapping[str, Any]
"""Option -> what was given, or the `$name` of the same name."""


@dataclass(frozen=True, slots=True)
class Preset:
    """layers: what it is, given its options. domains: of each option, as the YAML would spell them."""

    layers: Callable[[Options], list[Any]]
    domains: Mapping[str, Mapping[str, Any]]


TRAINED: Mapping[str, Mapping[str, Any]] = {
    "learning_rate": {"type": "float", "min": 1e-4, "max": 3e-2, "log": True, "default": 1e-3},
    "batch_size": {"type": "choice", "values": [16, 32, 64], "default": 32},
}
"""What every preset searches under `training`, where it is not given there."""


def expand(raw: dict[str, Any], problems: list[Problem]) -> dict[str, Any]:
    """`raw` (with `$name` bound) with a preset written out; as it is where its model is none."""
    model = raw.get("model")
    if not isinstance(model, dict) or [key for key in model if key in MODEL_KINDS] != ["preset"]:
        return raw
    parsed, wrong = validate(PresetModel, model, ("model",))
    problems += wrong
    name = parsed.preset if parsed is not None else "mlp"  # so that the other sections are checked too
    preset = PRESETS[name]
    written = {key: value for key, value in model.items() if key != "preset" and value is not None}
    known = ", ".join(preset.domains)
    for key in written if parsed is not None else ():
        if key not in preset.domains:
            message = f"{name} has no {key}. It has {known}; drop this."
            problems.append(Problem(message, ("model", key), on_key=True))
    if name != "mlp":
        problems += pictures(raw, name, ("model", "preset"))
    options = {key: written.get(key, Ref(key)) if not wrong else Ref(key) for key in preset.domains}
    space = {key: dict(preset.domains[key]) for key in preset.domains if options[key] == Ref(key)}
    training, trained = _training(raw.get("training") or {})
    return _with_space({**raw, "model": {"layers": preset.layers(options)}, "training": training}, {**space, **trained})


def _training(training: Any) -> tuple[Any, dict[str, Any]]:
    """The section with the names of what is searched in it, and their domains."""
    if not isinstance(training, dict) or not isinstance(training.get("optimizer") or {}, dict):
        return training, {}
    optimizer = training.get("optimizer") or {}
    searched = {"learning_rate": optimizer, "batch_size": training}
    space = {name: dict(TRAINED[name]) for name, section in searched.items() if section.get(name) is None}
    filled = {**training, "optimizer": {**optimizer, **{name: Ref(name) for name in space if name == "learning_rate"}}}
    return {**filled, **{name: Ref(name) for name in space if name == "batch_size"}}, space


def _with_space(raw: dict[str, Any], space: Mapping[str, Any]) -> dict[str, Any]:
    declared = raw.get("search_space") or {}
    return {**raw, "search_space": {**space, **declared} if isinstance(declared, dict) else declared}


# --- the presets ----------------------------------------------------------------------------------------------------

_UNITS = {"type": "choice", "values": [16, 32, 64, 128, 256], "default": 64}
_DROPOUT = {"type": "float", "min": 0.0, "max": 0.5, "default": 0.1}
_FILTERS = {"type": "choice", "values": [16, 32, 64], "default": 32}


def _mlp(options: Options) -> list[Any]:
    hidden = [
        {"Dense": {"units": options["units"], "activation": "relu"}},
        {"Dropout": {"rate": options["dropout"]}},
    ]
    return ["Flatten", {"repeat": {"times": options["depth"], "layers": hidden}}, OUTPUT]


def _cnn(options: Options) -> list[Any]:
    block = [_conv(options, activation="relu"), {"MaxPooling2D": {"padding": "same"}}]
    return [
        {"repeat": {"times": options["blocks"], "layers": block}},
        "Flatten",
        {"Dense": {"units": options["units"], "activation": "relu"}},
        {"Dropout": {"rate": options["dropout"]}},
        OUTPUT,
    ]


def _resnet(options: Options) -> list[Any]:
    """Stages of residual blocks; a stage halves the picture before its blocks.

    References: He et al. 2015, arXiv:1512.03385.
    """
    block = [
        {"Conv2D": {**_conv(options, use_bias=False)["Conv2D"], "from": "x"}},
        "BatchNormalization",
        {"Activation": {"activation": "relu"}},
        _conv(options, use_bias=False),
        {"BatchNormalization": {"name": "change"}},
        {"Add": {"from": ["x", "change"]}},
        {"Activation": {"activation": "relu", "name": "x"}},
    ]
    stage = [
        {"MaxPooling2D": {"padding": "same", "name": "x"}},
        {"repeat": {"times": options["blocks"], "layers": block}},
    ]
    return [
        _conv(options, use_bias=False),
        "BatchNormalization",
        {"Activation": {"activation": "relu"}},
        {"repeat": {"times": options["stages"], "layers": stage}},
        "GlobalAveragePooling2D",
        {"Dropout": {"rate": options["dropout"]}},
        OUTPUT,
    ]


def _conv(options: Options, **more: Any) -> dict[str, Any]:
    return {"Conv2D": {"filters": options["filters"], "kernel_size": 3, "padding": "same", **more}}


PRESETS: Mapping[str, Preset] = {
    "mlp": Preset(
        _mlp,
        {"depth": {"type": "int", "min": 1, "max": 3, "default": 2}, "units": _UNITS, "dropout": _DROPOUT},
    ),
    "cnn": Preset(
        _cnn,
        {
            "blocks": {"type": "int", "min": 1, "max": 3, "default": 2},
            "filters": _FILTERS,
            "units": _UNITS,
            "dropout": _DROPOUT,
        },
    ),
    "resnet": Preset(
        _resnet,
        {
            "stages": {"type": "int", "min": 1, "max": 3, "default": 2},
            "blocks": {"type": "int", "min": 1, "max": 3, "default": 1},
            "filters": _FILTERS,
            "dropout": _DROPOUT,
        },
    ),
}
