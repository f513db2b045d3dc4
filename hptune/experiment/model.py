"""The `model` section: what is trained.

What is new takes a class here, with what holds of it, a module in `hptune/training/models/` (or a trainer of its own in
`hptune/training/trainers/`), and a row in `MODEL_KINDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias, Union

from pydantic import Field

from hptune.experiment.base import Count, Side, Spec
from hptune.experiment.data import Task
from hptune.experiment.space.references import Searchable

CODE_NAME = r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"

CodeName: TypeAlias = Annotated[str, Field(pattern=CODE_NAME)]
"""`module:name`; modules are looked for beside the YAML file first."""


class ModelOptions(Spec):
    """A kind of model as the YAML has it: what holds of it is said here, and nowhere else.

    trainer: `module:function` in `hptune/training/trainers/`, which makes its Trainer of the experiment, the folder of
        the YAML file, the run's paths, and where workers hand samples over; "": another kind is written in its place.
    maker: `module:function` in `hptune/training/models/`, which makes the Keras model of the section, the data and the
        folder (of a kind that declares, the Builder); "" where its layers stand in the YAML, and where it has `code`.
    checks: `module:function` in `hptune/experiment/checks/`, which tells what is wrong with the YAML (as the user wrote
        it, and the scope of its `$name`s) where the model is of this kind; "": nothing beside what its fields say.
    called: in messages.
    keras: Keras trains it. epochs: it is trained by epochs; None: its code alone can tell.
    takes_data: it is trained on the samples of `data`; else it brings its own, and returns its own figures.
    layered: its layers stand in the YAML. declares: its code declares parameters beside the YAML's, and may compile.
    as_it_is: it was made or trained elsewhere, for targets as they are. prepares: it brings samples into shape itself.
    for_pictures: it takes nothing else.
    exact: it takes numbers with all their digits, and tells 1 from 1.0.
    folds: those that it is scored by unless the YAML says how many; None: by a validation part.
    scorers: what it is scored by unless the YAML says it, for each task; {}: Keras's metrics.
    """

    trainer: ClassVar[str] = "folded:keras_trainer"
    maker: ClassVar[str] = ""
    checks: ClassVar[str] = ""
    called: ClassVar[str] = "a Keras model"
    keras: ClassVar[bool] = True
    epochs: ClassVar[bool | None] = True
    takes_data: ClassVar[bool] = True
    layered: ClassVar[bool] = False
    declares: ClassVar[bool] = False
    as_it_is: ClassVar[bool] = False
    prepares: ClassVar[bool] = False
    for_pictures: ClassVar[bool] = False
    exact: ClassVar[bool] = False
    folds: ClassVar[int | None] = None
    scorers: ClassVar[Mapping[Task, str]] = {}

    @property
    def code(self) -> str | None:
        """The user's code that is the model or builds it, as `module:name`; None where there is none."""
        return None

    @property
    def files(self) -> tuple[str, ...]:
        """The files that it begins with, as the YAML names them."""
        return ()

    @property
    def stack(self) -> list[Any]:
        """Its layers as the YAML has them; [] where they don't stand there."""
        return []

    @property
    def input_names(self) -> tuple[str, ...]:
        """What `from:` calls the arrays of the data; () where they have no names."""
        return ()

    @property
    def output_names(self) -> tuple[str, ...]:
        """The layers that are its outputs; () where the last one is."""
        return ()


class LayersModel(ModelOptions):
    """Keras layers: `- Flatten`, `- Dense: {units: 10}`, `- repeat: {times: 2, layers: […]}`.

    Each takes the output of the one before it, unless its `from:` names others above it by their `name:`.
    """

    checks: ClassVar[str] = "layers_model:layers_model"
    layered: ClassVar[bool] = True

    layers: list[Any] = Field(min_length=1)
    inputs: list[str] | None = Field(default=None, min_length=1)
    """What `from:` calls the arrays of the data, where it has several; else `input` is its one array."""
    outputs: list[str] | None = Field(default=None, min_length=1)
    """The names of the layers that are the model's outputs; the last one unless given."""

    @property
    def stack(self) -> list[Any]:
        """The layers, as the YAML has them."""
        return self.layers

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names in `inputs`; () where it is left out."""
        return tuple(self.inputs or ())

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names in `outputs`; () where the last layer is the only output."""
        return tuple(self.outputs or ())


class PresetModel(ModelOptions):
    """A model with a search space of its own: what is not given here, or under `training`, is searched."""

    trainer: ClassVar[str] = ""

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


class PythonModel(ModelOptions):
    """A `build(hp)` function or a KerasTuner `HyperModel` class, as `module:name`."""

    declares: ClassVar[bool] = True
    as_it_is: ClassVar[bool] = True

    python: CodeName

    @property
    def code(self) -> str:
        """The builder, as `module:name`."""
        return self.python


class FunctionModel(ModelOptions):
    """Any Python function, `module:name`, called with the values as keywords; returns a number or {metric: number}."""

    trainer: ClassVar[str] = "function:trainer"
    called: ClassVar[str] = "a function"
    keras: ClassVar[bool] = False
    epochs: ClassVar[bool | None] = None
    takes_data: ClassVar[bool] = False

    function: CodeName

    @property
    def code(self) -> str:
        """The function, as `module:name`."""
        return self.function


class SklearnModel(ModelOptions):
    """A scikit-learn estimator by its import path, or a pipeline: a list of them. Scored by cross-validation."""

    trainer: ClassVar[str] = "sklearn_trainer:SklearnTrainer"
    checks: ClassVar[str] = "sklearn_model:sklearn"
    called: ClassVar[str] = "a scikit-learn model"
    keras: ClassVar[bool] = False
    epochs: ClassVar[bool | None] = False
    exact: ClassVar[bool] = True
    folds: ClassVar[int | None] = 5
    scorers: ClassVar[Mapping[Task, str]] = {"classes": "accuracy", "labels": "accuracy", "regression": "r2"}

    sklearn: str | list[Any]
    """`sklearn.svm.SVC`, or the steps of a pipeline, each a path or `{path: {its parameters}}`."""
    params: dict[str, Any] = Field(default_factory=dict)
    """The estimator's own arguments; a `{path: {parameters}}` among them is an estimator too."""


class ApplicationModel(ModelOptions):
    """A network of `keras.applications` over pictures, and the last layer that the data wants."""

    maker: ClassVar[str] = "applications:build_application"
    checks: ClassVar[str] = "application:application"
    prepares: ClassVar[bool] = True
    for_pictures: ClassVar[bool] = True

    application: Searchable[str]
    """Its name, such as MobileNetV2."""
    weights: str | None = None
    """A file (.h5, .weights.h5) of the network without its top, or `imagenet`; null: random weights."""
    size: Annotated[list[Side], Field(min_length=2, max_length=2)] | None = None
    """[height, width] that pictures are brought to; their own, and at least what the network takes, unless given."""
    pooling: Searchable[Literal["avg", "max"]] = "avg"
    trainable: Searchable[Literal["all", "none"] | Annotated[int, Field(ge=1)]] = "all"
    """What of the network is trained beside the last layer: all, none, or this many of its last layers."""
    dropout: Searchable[Annotated[float, Field(ge=0, lt=1)]] | None = None
    """Before the last layer."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The network's own arguments, such as alpha of MobileNetV2."""

    @property
    def files(self) -> tuple[str, ...]:
        """The file of weights; () where there is none, or Keras brings them."""
        return () if self.weights in (None, "imagenet") else (str(self.weights),)


class HypermodelModel(ModelOptions):
    """A HyperModel that comes with KerasTuner, for pictures of classes; its hyperparameters join the search space."""

    maker: ClassVar[str] = "ready_made:ready_made"
    declares: ClassVar[bool] = True
    as_it_is: ClassVar[bool] = True
    for_pictures: ClassVar[bool] = True

    hypermodel: Literal["resnet", "xception", "efficientnet"]


class SavedModel(ModelOptions):
    """A model from a `.keras` file, compiled anew by `training`; training starts from its weights."""

    maker: ClassVar[str] = "saved:load_saved"
    as_it_is: ClassVar[bool] = True

    saved: str
    reinitialize: bool = False
    """Start from fresh weights instead."""
    custom_objects: dict[str, CodeName] = Field(default_factory=dict)
    """The classes and functions of your own in the file, by the names that it has for them: {Name: module:Name}."""

    @property
    def files(self) -> tuple[str, ...]:
        """The model's file."""
        return (self.saved,)


MODEL_KINDS: dict[str, type[ModelOptions]] = {
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

if TYPE_CHECKING:
    ModelSpec: TypeAlias = ModelOptions
else:
    ModelSpec: TypeAlias = Union[tuple(kind for kind in MODEL_KINDS.values() if kind.trainer)]  # noqa: UP007
