"""From a recipe's graph of layers to a Keras model: a Sequential for a stack, else a functional model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from hptune.base.errors import HptuneError
from hptune.experiment.graph import INPUT, Graph, LayerCall, Source
from hptune.training.models.keras_objects import make_layer
from hptune.training.reasons import LayerError
from hptune.training.runtime import keras

Shape: TypeAlias = tuple[tuple[int | None, ...], str]
"""The shape of one sample and its dtype."""


def build(graph: Graph, shape: Shape | Mapping[str, Shape], folder: Path) -> Any:
    """A fresh model over samples of that shape (or of one shape for each input). folder: of the user's own layers.

    Raises LayerError where a layer can't be made, or does not take the output of the layers before it.
    """
    if graph.is_stack:
        assert not isinstance(shape, Mapping), "several inputs are named"
        return _stack(graph.calls, shape, folder)
    shapes = shape if isinstance(shape, Mapping) else {(graph.inputs or (INPUT,))[0]: shape}
    inputs = {name: keras().Input(shapes[name][0], dtype=shapes[name][1], name=name) for name in graph.inputs or shapes}
    tensors: dict[int, Any] = {-1 - i: tensor for i, tensor in enumerate(inputs.values())}
    for number, call in enumerate(graph.calls):
        source = number - 1 if call.source is None else call.source
        with _naming_layer(call):
            layer = make_layer(call.name, {**call.args, "name": _name(number, call)}, folder)
            tensors[number] = _called(layer, source, tensors)
    ends = {name: tensors[number] for name, number in (graph.outputs or {}).items()}
    outputs = ends if len(ends) > 1 else tensors[graph.ends[0]]
    return keras().Model(inputs if isinstance(shape, Mapping) else inputs.popitem()[1], outputs)


def _stack(calls: Sequence[LayerCall], shape: Shape, folder: Path) -> Any:
    layers = []
    for call in calls:
        with _naming_layer(call):
            layers.append(make_layer(call.name, call.args, folder))
    try:
        return keras().Sequential([keras().Input(shape[0], dtype=shape[1]), *layers])
    except Exception:  # it doesn't name the layer: called one by one, the same layer fails again
        tensor = keras().Input(shape[0], dtype=shape[1])
        for call in calls:
            with _naming_layer(call):
                tensor = make_layer(call.name, call.args, folder)(tensor)
        raise


@contextmanager
def _naming_layer(call: LayerCall) -> Iterator[None]:
    """What Keras, or a layer of the user's own, raises becomes a LayerError that names the layer."""
    try:
        yield
    except HptuneError:
        raise
    except Exception as error:
        got = ", ".join(f"{name}={value!r}" for name, value in call.args.items() if _is_plain(value))
        raise LayerError(call.path, f"{call.name}({got})") from error


def _is_plain(value: Any) -> bool:
    """Whether it is a value from the YAML; a dial has no number to show yet."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float)


def for_each(outputs: Sequence[str], value: Any, make: Callable[[Any], Any]) -> Any:
    """The losses or metrics made for each of several outputs, by name; for a single output the one made.

    value: one for all outputs, or a section with one for each. make: makes Keras's objects of one.
    """
    if not outputs:
        return make(value)
    by_name = isinstance(value, Mapping) and set(value) <= set(outputs)
    return {name: make(value.get(name, []) if by_name else value) for name in outputs}


def _name(number: int, call: LayerCall) -> str:
    """The layer's own name, or else one that holds its place."""
    return str(call.args.get("name") or f"{call.name.split(':')[-1].split('.')[-1].lower()}_at_{number}")


def _called(layer: Any, source: Source, tensors: Mapping[int, Any]) -> Any:
    def taken(place: int | tuple[int, ...]) -> Any:
        return [tensors[number] for number in place] if isinstance(place, tuple) else tensors[place]

    if isinstance(source, Mapping):
        return layer(**{key: taken(one) for key, one in source.items()})
    return layer(taken(source))
