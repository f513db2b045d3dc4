"""The `model` section: what is trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from hptune.spec.base import Count, Spec
from hptune.spec.references import Searchable

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


class PresetModel(Spec):
    """A model with a search space of its own: what is not given here, or under `training`, is searched."""

    preset: Literal["mlp", "cnn", "resnet"]
    """mlp: dense layers. cnn: convolutions, then a dense layer. resnet: residual blocks. These two: for pictures."""
    depth: Searchable[Count] | None = None
    """mlp: how many hidden layers."""
    units: Searchable[Count] | None = None
    """mlp, cnn: of each hidden layer."""
    stages: Searchable[Count] | None = None
    """resnet: how often the picture is halved."""
    blocks: Searchable[Count] | None = None
    """cnn: convolutions, each with a pooling. resnet: residual blocks in each stage."""
    filters: Searchable[Count] | None = None
    """cnn, resnet: of each convolution."""
    dropout: Searchable[Annotated[float, Field(ge=0, lt=1)]] | None = None


class PythonModel(Spec):
    """A `build(hp)` function or a KerasTuner `HyperModel` class, as `module:name`."""

    python: CodeName


class FunctionModel(Spec):
    """Any Python function, `module:name`, called with the values as keywords; returns a number or {metric: number}."""

    function: CodeName


class SklearnModel(Spec):
    """A scikit-learn estimator by its import path, or a pipeline: a list of them. Scored by cross-validation."""

    sklearn: str | list[Any]
    """`sklearn.svm.SVC`, or the steps of a pipeline, each a path or `{path: {its parameters}}`."""
    params: dict[str, Any] = Field(default_factory=dict)
    """The estimator's own arguments; a `{path: {parameters}}` among them is an estimator too."""


ModelSpec: TypeAlias = LayersModel | PythonModel | FunctionModel | SklearnModel

LATER_MODELS = ("application", "hypermodel", "saved")
"""The kinds that are to come."""

MODEL_KINDS: dict[str, type[Spec]] = {
    "layers": LayersModel,
    "preset": PresetModel,
    "python": PythonModel,
    "function": FunctionModel,
    "sklearn": SklearnModel,
}
"""The key that says which kind of model a section is -> its class. A preset is written out as layers first."""
