"""The loss on the data alone, of a model that Keras's `fit` trains: as it is told of the models beside it.

Keras tells the sum with the penalties on weights and with what layers add (`add_loss`, activity regularizers). Nothing
that the user's callbacks see, or that training depends on, is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hptune.training.core.results import makes_its_own_loss
from hptune.training.runtime import keras


class DataLoss:
    """Keeps the mean over samples of what a model's compiled loss gives, since it was taken last."""

    def __init__(self, model: Any) -> None:
        import tensorflow as tf

        self._mean = mean = keras().metrics.Mean(name="data_loss")
        self._told: list[dict[str, float]] = []
        self._ours: list[dict[str, float]] = []
        call = model._compile_loss.call

        def counted(y: Any, predicted: Any, weight: Any = None) -> Any:
            value = call(y, predicted, weight)
            mean.update_state(value, sample_weight=tf.shape(tf.nest.flatten(predicted)[0])[0])
            return value

        model._compile_loss.call = counted

    @staticmethod
    def of(model: Any) -> DataLoss | None:
        """None of a model that makes its own loss, which is told as it is."""
        none = not model.compiled or makes_its_own_loss(model) or model._compile_loss is None
        return None if none else DataLoss(model)

    def take(self) -> float | None:
        """The mean, which begins anew; None where the loss was not asked for."""
        found = float(self._mean.result()) if float(self._mean.count) else None
        self._mean.reset_state()
        return found

    def keep(self, told: Mapping[str, float], ours: Mapping[str, float]) -> None:
        """What Keras tells of an epoch, and what of it is told here."""
        self._told.append({name: told[name] for name in ours})
        self._ours.append(dict(ours))

    def history(self, returned: Any) -> Any:
        """What a `fit` has returned, with these figures in the place of those that it tells of the last epochs kept."""
        history = getattr(returned, "history", None)
        if not isinstance(history, Mapping):
            return returned
        found = dict(history)
        for name in self._ours[-1] if self._ours else ():
            curve = list(map(float, history.get(name, ())))
            if curve and curve == [one.get(name) for one in self._told[-len(curve) :]]:
                found[name] = [one[name] for one in self._ours[-len(curve) :]]
        return found
