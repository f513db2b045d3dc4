"""What a model is compiled with: the optimizer, the loss, the metrics, and all that goes with them.

Trials whose models are compiled with the same things share a program. They are told apart by a digest of everything
that the objects hold, with their dials blanked; never by a list of what to include.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hptune.training.models.keras_objects import make_loss
from hptune.training.own.sameness import described
from hptune.training.runtime import keras, reset_names


@dataclass(frozen=True, slots=True)
class Compiled:
    """optimizer, loss, metrics, weighted_metrics: make fresh objects; by name for several outputs, as Keras takes them.

    loss_weights: how much each output's loss counts in the sum; None: 1.
    unpenalized: the numbers of the trainable variables, and a pattern of names, that weight decay leaves alone.
    has_loss, has_metrics: whether a builder gave any. run_eagerly: whether it asked that nothing be traced.
    scale: the options of the user's `LossScaleOptimizer` around the optimizer; None: it has none.
    """

    optimizer: Callable[[], Any]
    loss: Callable[[], Any]
    metrics: Callable[[], Any]
    weighted_metrics: Callable[[], Any] = lambda: None
    loss_weights: Any = None
    unpenalized: tuple[int, ...] = ()
    unpenalized_names: str | None = None
    has_loss: bool = True
    has_metrics: bool = True
    run_eagerly: bool = False
    scale: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, model: Any, rebuild: Callable[[], Any]) -> Compiled:
        """What a user's code compiled the model with. rebuild: calls that code again."""
        loss, metrics, optimizer = model._compile_loss, model._compile_metrics, scaled_by(model.optimizer)
        own_loss = loss._user_loss if loss is not None else None
        unpenalized: tuple[int, ...] = ()
        pattern = None
        if optimizer is not None:
            keys: set[Any] = getattr(optimizer, "_exclude_from_weight_decay", set())
            variables = enumerate(model.trainable_variables)
            unpenalized = tuple(number for number, variable in variables if optimizer._var_key(variable) in keys)
            names = getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
            pattern = names.pattern if names is not None else None
        return cls(
            optimizer=lambda: _again(optimizer, rebuild),
            loss=lambda: make_loss(own_loss) if isinstance(own_loss, str) else own_loss,
            metrics=lambda: metrics._user_metrics,
            weighted_metrics=lambda: metrics._user_weighted_metrics if metrics is not None else None,
            loss_weights=loss._user_loss_weights if loss is not None else None,
            unpenalized=unpenalized,
            unpenalized_names=pattern,
            has_loss=loss is not None,
            has_metrics=metrics is not None and metrics._user_metrics is not None,
            run_eagerly=bool(model.run_eagerly),
            scale=_scale(model.optimizer),
        )

    def compile(self, model: Any, optimizer: Any, loss: Any, **options: Any) -> None:
        """Compile the model with these two, and with the rest. options: more that `model.compile` takes."""
        model.compile(
            optimizer if self.scale is None else keras().optimizers.LossScaleOptimizer(optimizer, **self.scale),
            loss,
            loss_weights=self.loss_weights,
            metrics=self.metrics(),
            weighted_metrics=self.weighted_metrics(),
            **options,
        )
        if self.unpenalized or self.unpenalized_names is not None:
            variables = model.trainable_variables
            optimizer.exclude_from_weight_decay(
                var_list=[variables[number] for number in self.unpenalized],
                var_names=None if self.unpenalized_names is None else [self.unpenalized_names],
            )

    def digest(self, dials: Mapping[str, float]) -> Any:
        """All of it as plain data. dials: the optimizer's, which are left out, as is its rate."""
        reset_names()  # so that a metric is named `auc`, however many were made before
        optimizer = described(self.optimizer())
        for numbers in (part for part in optimizer[1:] if isinstance(part, dict)):
            for name in {*numbers} & {"name", "learning_rate", *(dial.removeprefix("optimizer.") for dial in dials)}:
                numbers[name] = "" if name == "name" else _without_number(numbers[name])
        return [
            optimizer,
            described(self.loss()),
            described(self.metrics()),
            described(self.weighted_metrics()),
            _curve_names([self.metrics(), self.weighted_metrics()]),
            self.loss_weights,
            self.unpenalized,
            self.unpenalized_names,
            self.run_eagerly,
            self.scale,
        ]


def _curve_names(metrics: Any) -> list[str]:
    """What Keras calls each metric's curve: code may give one and the same metric another name."""
    flat = keras().tree.flatten(metrics)
    return [str(getattr(one, "name", getattr(one, "__name__", type(one).__name__))) for one in flat]


def _without_number(value: Any) -> Any:
    """A schedule stays as it is; a number is a dial, and so is the rate."""
    return "dial" if isinstance(value, int | float) else value


def _again(optimizer: Any, rebuild: Callable[[], Any]) -> Any:
    """Another optimizer like it: the builder's own where part of it is the user's, or its step was set."""
    return (
        type(optimizer).from_config(optimizer.get_config()) if _is_plain(optimizer) else scaled_by(rebuild().optimizer)
    )


def scaled_by(optimizer: Any) -> Any:
    """The optimizer inside a `LossScaleOptimizer`, which has the rate and the weight decay; any other as it is."""
    return optimizer.inner_optimizer if type(optimizer) is keras().optimizers.LossScaleOptimizer else optimizer


def _scale(optimizer: Any) -> Mapping[str, Any] | None:
    if scaled_by(optimizer) is optimizer:
        return None
    return {name: getattr(optimizer, name) for name in ("initial_scale", "dynamic_growth_steps")}


def _is_plain(optimizer: Any) -> bool:
    """Whether its config holds all of it: it is Keras's, with a rate or a schedule of Keras's, and has made no step."""
    rate = getattr(optimizer, "_learning_rate", None)
    of_keras = all(type(one).__module__.split(".")[0] == "keras" for one in (optimizer, rate))
    patched = any(isinstance(value, types.FunctionType | types.MethodType) for value in vars(optimizer).values())
    return of_keras and not patched and not inspect.isroutine(rate) and int(optimizer.iterations) == 0


def rate_of(optimizer: Any) -> float | None:
    """Its learning rate; None where it has a schedule, a function, or another optimizer inside."""
    rate = getattr(optimizer, "_learning_rate", None)
    around = hasattr(optimizer, "inner_optimizer")  # such an optimizer has a rate of 0 in Keras, which nothing reads
    return float(rate) if isinstance(rate, keras().Variable) and not around else None
