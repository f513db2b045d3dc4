"""The `model` section: what is trained."""

from __future__ import annotations

from typing import Any

from hptune.spec.base import Spec


class LayersModel(Spec):
    """A stack of Keras layers: `- Flatten`, `- Dense: {units: 10}`, `- repeat: {times: 2, layers: […]}`."""

    layers: list[Any]


class PythonModel(Spec):
    """A `build(hp)` function or a KerasTuner `HyperModel` class, as `module:name`."""

    python: str


class FunctionModel(Spec):
    """Any Python function, as `module:name`, called with the values as keywords; returns a number or {metric: number}."""

    function: str


MODEL_KINDS: dict[str, type[Spec]] = {"layers": LayersModel, "python": PythonModel, "function": FunctionModel}
"""The key that says which kind of model a section is -> its class."""
