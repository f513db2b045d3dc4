"""The `model` section: what is trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from hptune.experiment.base import Count, Side, Spec
from hptune.experiment.space.references import Searchable

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


class ApplicationModel(Spec):
    """A network of `keras.applications` over pictures, and the last layer that the data wants."""

    application: Searchable[str]
    """Its name, such as MobileNetV2."""
    weights: str | None = None
    """A file (.h5, .weights.h5) of the network without its top, or `imagenet`; null: random weights."""
    size: Annotated[list[Side], Field(min_length=2, max_length=2)] | None = None
    """[height, width] that pictures are brought to; their own, and at least what the network takes, unless given."""
    pooling: Searchable[Literal["avg", "max"]] = "avg"
    trainable: Searchable[Literal["all", "none"] | Annotated[int, Field(ge=1)]] = "all"
    """What of the network is trained beside the last layer: all, none, or so many of its last layers."""
    dropout: Searchable[Annotated[float, Field(ge=0, lt=1)]] | None = None
    """Before the last layer."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The network's own arguments, such as alpha of MobileNetV2."""


class HypermodelModel(Spec):
    """A HyperModel that comes with KerasTuner, for pictures of classes; its hyperparameters join the search space."""

    hypermodel: Literal["resnet", "xception", "efficientnet"]


class SavedModel(Spec):
    """A model from a `.keras` file, compiled anew by `training`; training starts from its weights."""

    saved: str
    reinitialize: bool = False
    """Start from fresh weights instead."""
    custom_objects: dict[str, CodeName] = Field(default_factory=dict)
    """The classes and functions of your own in the file, by the names that it has for them: {Name: module:Name}."""


ModelSpec: TypeAlias = (
    LayersModel | PythonModel | FunctionModel | SklearnModel | ApplicationModel | HypermodelModel | SavedModel
)

DECLARING = (PythonModel, HypermodelModel)
"""The kinds whose code declares a search space, and compiles."""

COMPILED_HERE = (LayersModel, ApplicationModel, HypermodelModel, SavedModel)
"""The kinds whose loss and metrics are the YAML's, or what the data wants where they are left out."""

MODEL_KINDS: dict[str, type[Spec]] = {
    "layers": LayersModel,
    "preset": PresetModel,
    "python": PythonModel,
    "function": FunctionModel,
    "sklearn": SklearnModel,
    "application": ApplicationModel,
    "hypermodel": HypermodelModel,
    "saved": SavedModel,
}
"""The key that says which kind of model a section is -> its class. A preset is written out as layers first."""
