"""The `model` section: what is trained."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import Field

from hptune.spec.base import Spec

CODE_NAME = r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"

CodeName: TypeAlias = Annotated[str, Field(pattern=CODE_NAME)]
"""`module:name`; modules are looked for beside the YAML file first."""


class LayersModel(Spec):
    """Keras layers: `- Flatten`, `- Dense: {units: 10}`, `- repeat: {times: 2, layers: […]}`.

    Each takes the output of the one before it, unless its `from:` names others above it by their `name:`.
    """

    layers: list[Any] = Field(min_length=1)
    inputs: list[str] | None = Field(default=None, min_length=1)
    """What `from:` calls the arrays of the data, where it has several; else `input` is its one array."""
    outputs: list[str] | None = Field(default=None, min_length=1)
    """The names of the layers that are the model's outputs; the last one unless given."""


class PythonModel(Spec):
    """A `build(hp)` function or a KerasTuner `HyperModel` class, as `module:name`."""

    python: CodeName


class FunctionModel(Spec):
    """Any Python function, `module:name`, called with the values as keywords; returns a number or {metric: number}."""

    function: CodeName


ModelSpec: TypeAlias = LayersModel | PythonModel | FunctionModel

LATER_MODELS = ("preset", "application", "hypermodel", "saved", "sklearn")
"""The kinds that are to come."""

MODEL_KINDS: dict[str, type[Spec]] = {"layers": LayersModel, "python": PythonModel, "function": FunctionModel}
"""The key that says which kind of model a section is -> its class."""
