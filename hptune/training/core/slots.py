"""An optimizer's initial slots: zeros, or copies of the weights.

Every trial begins with the slots that Keras would make from its weights, whatever the program trained before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hptune.training.core.loops import function
from hptune.training.runtime import keras


def build_optimizer(optimizer: Any, variables: Any) -> None:
    """Build an optimizer while a graph is traced, as `fit` does: what it assigns to its variables is lost."""

    def build() -> None:
        if not optimizer.built:  # code that makes variables is traced twice
            optimizer.build(variables)

    function(build, xla=False)()


class Slots:
    """The initial values of the variables of a compiled model's optimizer, which is built.

    fresh: makes another such optimizer, with the same options, not built.
    """

    def __init__(self, model: Any, fresh: Callable[[], Any]) -> None:
        self._model = model
        self._fresh = fresh
        self._fixed = [variable.numpy() for variable in model.optimizer.variables]
        self._follow = self._follow_the_weights()

    def initial(self) -> list[Any]:
        """The values for the model's present weights, in the order of the optimizer's variables."""
        return self._built() if self._follow else self._fixed

    def _follow_the_weights(self) -> bool:
        """Whether they depend on the weights: tried, since nothing else shows it."""
        weights = self._model.trainable_variables
        before = [weight.numpy() for weight in weights]
        for weight, value in zip(weights, before, strict=True):
            weight.assign(value + 1)
        others = self._built()
        for weight, value in zip(weights, before, strict=True):
            weight.assign(value)
        return any((one != other).any() for one, other in zip(self._fixed, others, strict=True))

    def _built(self) -> list[Any]:
        """The initial values of a fresh optimizer, built for the present weights."""
        fresh = self._fresh()
        scaled, theirs = keras().optimizers.LossScaleOptimizer, self._model.optimizer
        if isinstance(theirs, scaled) and not isinstance(fresh, scaled):
            fresh = scaled(fresh, theirs.initial_scale, theirs.dynamic_growth_steps)
        inner = getattr(self._model.optimizer, "inner_optimizer", self._model.optimizer)
        build_optimizer(
            fresh, inner._trainable_variables
        )  # a step of the user's own may have built it for some of the weights
        return [variable.numpy() for variable in fresh.variables]
