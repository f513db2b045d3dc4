"""How the layers of a model are connected: whose output each one takes, by the `from:` and `name:` of the YAML.

Without `from:` a layer takes the output of the one before it. A name means the last layer above that has it, as a
variable does in Python, so that `x` may be named again inside a `repeat`: that is how residual blocks are written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from hptune.base.errors import KeyPath, SegmentFailed

INPUT = "input"
"""What `from:` calls the samples, where `inputs:` gives them no other name."""

FROM = "from"
"""The argument of a layer that says whose output it takes."""

Source: TypeAlias = int | tuple[int, ...] | Mapping[str, int | tuple[int, ...]]
"""The number of a layer; several, for a layer that takes a list; or one for each argument of its call.

Layers are numbered from 0 in their order; −1 is the first input, −2 the second.
"""


@dataclass(frozen=True, slots=True)
class LayerCall:
    """One layer: a `keras.layers` class by its name (or `module:Class`), and its arguments as the YAML gives them.

    A layer, initialiser or regulariser among the arguments stands as its name or as `{Name: {arguments}}`.
    source: whose output it takes; None: that of the layer before it. path: where the YAML has it.
    """

    name: str
    args: Mapping[str, Any]
    source: Source | None = None
    path: KeyPath = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Graph:
    """A model's layers in order, how its inputs are called, and the numbers of the layers that are its outputs.

    inputs: () where the samples are one array. outputs: name -> number; {} where the last layer is the one output.
    """

    calls: tuple[LayerCall, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: Mapping[str, int] | None = None

    @property
    def is_stack(self) -> bool:
        """Whether each layer takes the output of the one before it, and the last is the output."""
        return not self.inputs and not self.outputs and all(call.source is None for call in self.calls)

    @property
    def ends(self) -> tuple[int, ...]:
        """The numbers of the layers that give the model's outputs."""
        return tuple(self.outputs.values()) if self.outputs else (len(self.calls) - 1,)

    def with_calls(self, calls: Sequence[LayerCall]) -> Graph:
        """The same graph of other layers, as many of them."""
        return Graph(tuple(calls), self.inputs, self.outputs)


def wire(calls: Iterable[LayerCall], *, inputs: Sequence[str] = (), outputs: Sequence[str] = ()) -> Graph:
    """The graph of layers whose `from` and `name` stand among their arguments.

    Layers of one name are numbered: `x`, `x_1`, …  Raises SegmentFailed for a name that no layer above has, which the
    spec's check leaves only where a `repeat` of 0 times takes it away.
    """
    at: dict[str, int] = {name: -1 - i for i, name in enumerate(inputs or [INPUT])}
    used: Counter[str] = Counter()
    wired: list[LayerCall] = []
    for number, call in enumerate(calls):
        args = dict(call.args)
        written, label = args.pop(FROM, None), args.get("name")
        source = _source(written, at, call.name) if written is not None else None
        if label is not None:
            used[label] += 1
            args["name"] = label if used[label] == 1 else f"{label}_{used[label] - 1}"
            at[label] = number
        wired.append(LayerCall(call.name, args, None if source == number - 1 else source, call.path))
    ends = {name: _number(name, at, "outputs") for name in outputs}
    only_last = list(ends.values()) == [len(wired) - 1]
    return Graph(tuple(wired), tuple(inputs), None if only_last or not ends else ends)


def _source(written: Any, at: Mapping[str, int], layer: str) -> Source:
    if isinstance(written, Mapping):
        return {key: _one_or_more(value, at, layer) for key, value in written.items()}
    return _one_or_more(written, at, layer)


def _one_or_more(written: Any, at: Mapping[str, int], layer: str) -> int | tuple[int, ...]:
    if isinstance(written, list):
        return tuple(_number(name, at, layer) for name in written)
    return _number(written, at, layer)


def _number(name: Any, at: Mapping[str, int], layer: str) -> int:
    if name not in at:
        raise SegmentFailed(f"{layer}: no layer above is called {name!r} here; there are {', '.join(at)}")
    return at[name]
