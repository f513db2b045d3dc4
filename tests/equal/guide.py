"""Which guides are tests: what of each is trained, and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Guide:
    """One piece of a guide. module: its file in `guides/`. name: of the builder or HyperModel in it.

    points: where it is trained, in both orders. data: the function that gives the samples. metric: the objective.
    plain_loss: the metric that is the data's own loss, where layers add to what Keras tells as loss. yaml: further
    sections. plain: the builder that says the same in code. validates: False where the guide calls `fit` without.
    own_epochs: whether its `fit` says how many.
    """

    module: str
    name: str
    points: Sequence[Mapping[str, Any]]
    metric: str = "val_loss"
    goal: str = "minimize"
    task: str = "regression"
    data: str = "data"
    plain_loss: str | None = None
    yaml: Mapping[str, Any] = field(default_factory=dict)
    plain: str | None = None
    validates: bool = True
    own_epochs: bool = False

    @property
    def id(self) -> str:
        return f"{self.module}-{self.plain or self.name}"


STEP = "custom_train_step_in_tensorflow"
LOOP = "writing_a_custom_training_loop_in_tensorflow"
LAYERS = "making_new_layers_and_models_via_subclassing"
BUILT_IN = "training_with_built_in_methods"
CALLBACKS = "writing_your_own_callbacks"
TRANSFER = "transfer_learning"
SAVING = "serialization_and_saving"
FUNCTIONAL = "functional_api"
START = "tuner_getting_started"
TAILOR = "tuner_tailor_the_search_space"
FAILED = "tuner_failed_trials"


def over(name: str, *values: Any, **others: Any) -> list[dict[str, Any]]:
    return [{name: value, **others} for value in values]


UNITS = over("units", 4, 8)
FEW = over("units", 3, 5)
MAX: dict[str, Any] = {"metric": "val_accuracy", "goal": "maximize"}

CLASSES: dict[str, Any] = {"task": "classes"}

GUIDES = (
    Guide(STEP, "simple", over("units", 4, 6)),
    Guide(STEP, "going_lower_level", over("units", 4, 6), metric="loss", validates=False),
    Guide(STEP, "HyperLower", over("units", 4, 6), metric="loss"),
    Guide(STEP, "sample_weight", over("units", 4, 6), data="weighted"),
    Guide(STEP, "evaluation_step", over("rate", 0.01, 0.1, units=4)),
    Guide(STEP, "gan", over("latent_dim", 2, 4), metric="g_loss", data="digits", validates=False),
    Guide(STEP, "HyperGAN", over("latent_dim", 2, 4), metric="g_loss", data="digits"),
    Guide(LOOP, "WithMetrics", UNITS, **MAX, **CLASSES),
    Guide(LOOP, "Compiled", [{"units": 4, "rate": 0.01}, {"units": 8, "rate": 0.1}], **CLASSES),
    Guide(LOOP, "GanLoop", over("latent_dim", 2, 4), metric="g_loss", **CLASSES),
    Guide(LAYERS, "linear", FEW),
    Guide(LAYERS, "lazy_linear", FEW),
    Guide(LAYERS, "serialized_linear", FEW),
    Guide(LAYERS, "compute_sum", FEW),
    Guide(LAYERS, "custom_dropout", over("rate", 0.1, 0.5)),
    Guide(LAYERS, "composed", FEW),
    Guide(LAYERS, "activity_regularization", over("rate", 0.1, 3.0), plain_loss="mse"),
    Guide(LAYERS, "kernel_regularizer", over("rate", 1e-3, 1e-1), plain_loss="mse"),
    Guide(LAYERS, "added_loss_alone", over("rate", 0.1, 3.0), metric="val_mae"),
    Guide(LAYERS, "vae", over("latent_dim", 1, 2), data="themselves", plain_loss="mse"),
    Guide(LAYERS, "VaeLoop", over("latent_dim", 1, 2), data="themselves", metric="loss"),
    Guide(BUILT_IN, "get_compiled_model", UNITS, **CLASSES),
    Guide(BUILT_IN, "by_objects", UNITS, **CLASSES),
    Guide(BUILT_IN, "loss_function", UNITS, data="one_hot"),
    Guide(BUILT_IN, "loss_class", over("factor", 0.1, 2.0), data="one_hot"),
    Guide(BUILT_IN, "custom_metric", UNITS, metric="val_categorical_true_positives", goal="maximize", **CLASSES),
    Guide(BUILT_IN, "activity_regularization", UNITS, plain_loss="plain", **CLASSES),
    Guide(BUILT_IN, "schedule", over("initial", 0.1, 0.01), **CLASSES),
    Guide(BUILT_IN, "HyperCallbacks", UNITS, **CLASSES, own_epochs=True),
    Guide(BUILT_IN, "HyperSplit", over("split", 0.2, 0.5, units=4), **CLASSES),
    Guide(BUILT_IN, "HyperWeights", over("weight", 2.0, 20.0, units=4), **CLASSES),
    Guide(BUILT_IN, "HyperSequence", UNITS, **CLASSES),
    Guide(
        CALLBACKS, "HyperEarlyStopping", [{"rate": 0.1, "patience": 1}, {"rate": 0.6, "patience": 2}], own_epochs=True
    ),
    Guide(
        CALLBACKS,
        "HyperRestored",
        [{"rate": 0.1, "patience": 1}, {"rate": 0.6, "patience": 2}],
        own_epochs=True,
    ),
    Guide(CALLBACKS, "HyperScheduler", over("rate", 0.1, 0.6), own_epochs=True),
    Guide(TRANSFER, "feature_extraction", over("rate", 1e-3, 1e-1), **CLASSES),
    Guide(TRANSFER, "partly_frozen", over("frozen", 2, 4), **CLASSES),
    Guide(TRANSFER, "module_level_base", over("tuned", True, False), **CLASSES),
    Guide(TRANSFER, "features_first", FEW, **CLASSES),
    Guide(TRANSFER, "FineTuned", [{"rate": 1e-2, "low": 1e-5}, {"rate": 1e-1, "low": 1e-3}], **CLASSES),
    Guide(SAVING, "registered", over("factor", 0.5, 2.0)),
    Guide(SAVING, "not_registered", over("factor", 0.5, 2.0)),
    Guide(SAVING, "with_a_sublayer", FEW),
    Guide(SAVING, "saves_its_own_variables", FEW),
    Guide(SAVING, "custom_model", FEW),
    Guide(SAVING, "serialized_and_back", FEW),
    Guide(SAVING, "weights_handed_over", FEW),
    Guide(FUNCTIONAL, "autoencoder", over("filters", 2, 4), data="themselves"),
    Guide(FUNCTIONAL, "ensemble", over("members", 2, 3), **CLASSES),
    Guide(FUNCTIONAL, "toy_resnet", over("filters", 2, 4), **CLASSES),
    Guide(FUNCTIONAL, "shared_layer", FEW, **CLASSES),
    Guide(FUNCTIONAL, "extracted", over("filters", 2, 4), **CLASSES),
    Guide(FUNCTIONAL, "custom_dense", FEW, **CLASSES),
    Guide(FUNCTIONAL, "mixed", FEW, **CLASSES),
    Guide(
        START,
        "existing_code",
        [
            {"units": 4, "activation": "relu", "dropout": False, "lr": 0.01},
            {"units": 8, "activation": "tanh", "dropout": True, "lr": 0.001},
        ],
        **MAX,
        **CLASSES,
    ),
    Guide(
        START,
        "conditional",
        [
            {"num_layers": 1, "units_0": 4, "activation": "relu", "dropout": False, "lr": 0.01},
            {"num_layers": 2, "units_0": 4, "units_1": 8, "activation": "tanh", "dropout": False, "lr": 0.001},
        ],
        **MAX,
        **CLASSES,
    ),
    Guide(
        START,
        "TuneFit",
        [
            {"units": 4, "batch_size": 16, "shuffle": True},
            {"units": 8, "batch_size": 32, "shuffle": False},
        ],
        **MAX,
        **CLASSES,
    ),
    Guide(
        START,
        "TunePreprocessing",
        [
            {"units": 4, "normalize": True, "shuffle": True},
            {"units": 8, "normalize": False, "shuffle": False},
        ],
        **MAX,
        **CLASSES,
    ),
    Guide(
        START,
        "TuneImageSize",
        [
            {"units": 4, "image_size": 3, "shuffle": True},
            {"units": 8, "image_size": 6, "shuffle": False},
        ],
        **MAX,
        **CLASSES,
    ),
    Guide(START, "built_in_metric", UNITS, data="numbers", metric="val_mean_absolute_error"),
    Guide(START, "custom_metric", UNITS, data="numbers", metric="val_custom_metric"),
    Guide(START, "HyperRegressor", UNITS, data="numbers", metric="score"),
    Guide(START, "HyperRegressorOfTwo", UNITS, data="numbers", metric="metric_a", goal="maximize"),
    Guide(
        "tuner_custom_tuner",
        "MyHyperModel",
        [
            {"units": 4, "batch_size": 16, "learning_rate": 0.01},
            {"units": 8, "batch_size": 32, "learning_rate": 0.1},
        ],
        metric="my_metric",
        **CLASSES,
    ),
    Guide(
        TAILOR,
        "build_model",
        [
            {"units": 8, "dropout": False, "learning_rate": 0.003},
            {"units": 12, "dropout": True, "learning_rate": 0.02},
        ],
        **CLASSES,
        yaml={"search_space": {"learning_rate": {"type": "float", "min": 1e-4, "max": 0.1, "log": True}}},
    ),
    Guide(
        TAILOR,
        "build_model",
        [
            {"units": 8, "dropout": False, "learning_rate": 0.01},
            {"units": 12, "dropout": True, "learning_rate": 0.001},
        ],
        **CLASSES,
        plain="overridden",
        yaml={
            "training": {
                "optimizer": {"name": "adam", "learning_rate": 1e-3},
                "loss": "mse",
                "metrics": ["sparse_categorical_crossentropy"],
            }
        },
    ),
    Guide(
        TAILOR,
        "xception",
        [
            {"activation": "relu", "filters": 4, "num_residual_blocks": 1, "pooling": "avg", "learning_rate": 0.01},
            {"activation": "selu", "filters": 2, "num_residual_blocks": 2, "pooling": "flatten", "learning_rate": 0.1},
        ],
        **MAX,
        **CLASSES,
        plain="xception_of_integers",
        yaml={
            "training": {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]},
            "search_space": {"learning_rate": {"type": "choice", "values": [0.1, 0.01]}},
        },
    ),
    Guide(FAILED, "tolerated", [{"units_1": 10, "units_2": 10}, {"units_1": 20, "units_2": 20}]),
    Guide(FAILED, "marked_as_failed", [{"units_1": 10, "units_2": 10}, {"units_1": 20, "units_2": 20}]),
    Guide(
        "tuner_visualize_tuning",
        "build_model",
        [
            {"model_type": "mlp", "mlp_layers": 1, "units_0": 4, "dropout": False},
            {"model_type": "cnn", "cnn_layers": 2, "filters_0": 2, "filters_1": 4, "dropout": True},
            {"model_type": "mlp", "mlp_layers": 2, "units_0": 4, "units_1": 8, "dropout": True},
        ],
        **MAX,
        **CLASSES,
    ),
)
