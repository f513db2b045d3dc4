"""The loss on the data alone, for a model that Keras's `fit` trains: so that it compares with that of other trials.

Keras reports the sum with the penalties on weights and the losses that layers add (`add_loss`, activity regularizers).
What the user's callbacks see, and what training depends on, stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hptune.training.core.results import makes_its_own_loss
from hptune.training.runtime import keras


class DataLoss:
    """Keeps the mean over samples of a model's compiled loss since the last `take`."""

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
        """The data loss of a model; None for a model that computes its own loss, which is reported as it is."""
        none = not model.compiled or makes_its_own_loss(model) or model._compile_loss is None
        return None if none else DataLoss(model)

    def take(self) -> float | None:
        """The mean, which then starts anew; None where the loss was not computed since."""
        mean = float(self._mean.result()) if float(self._mean.count) else None
        self._mean.reset_state()
        return mean

    def keep(self, reported: Mapping[str, float], ours: Mapping[str, float]) -> None:
        """Keep an epoch's figures: as Keras reports them, and as they are on the data alone."""
        self._told.append({name: reported[name] for name in ours})
        self._ours.append(dict(ours))

    def history(self, returned: Any) -> Any:
        """What a `fit` returned, with the figures on the data alone in place of Keras's for the epochs kept last."""
        history = getattr(returned, "history", None)
        if not isinstance(history, Mapping):
            return returned
        curves = dict(history)
        for name in self._ours[-1] if self._ours else ():
            curve = list(map(float, history.get(name, ())))
            if curve and curve == [one.get(name) for one in self._told[-len(curve) :]]:
                curves[name] = [one[name] for one in self._ours[-len(curve) :]]
        return curves
