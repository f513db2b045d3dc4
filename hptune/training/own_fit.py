"""Trials of a `HyperModel` that trains by a `fit` of its own: the plain way, with no program and no reuse.

Its `fit(hp, model, x, y, validation_data=…, epochs=…, initial_epoch=…, callbacks=…, verbose=0)` is called as KerasTuner
would, and may return a Keras `History`, a dict of metrics, or a number (the metric `score`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hptune.errors import SegmentFailed
from hptune.training.data import Data, Part
from hptune.training.hypermodel import Builder
from hptune.training.runtime import keras
from hptune.training.state import State
from hptune.trial import Curves, Values

BATCH_SIZE = 32
"""Of `evaluate`: Keras's own. What the `fit` trains with is its own affair."""


class OwnFit:
    """One trial's model, and the hypermodel's own way of training it.

    seed: of everything random in it.
    """

    def __init__(self, builder: Builder, values: Values, data: Data, *, seed: int) -> None:
        keras().utils.set_random_seed(seed)
        self.model, self._hp = builder.build(values)
        self._fit = builder.hypermodel.fit
        self._data = data

    def run(self, state: State | None, from_epoch: int, to_epoch: int, *, on_epoch: Any) -> Curves:
        """Train; `on_epoch(epochs done, metrics)` is told where the `fit` passes its callbacks on. The new curves."""
        if state is not None:
            self._load(state)
        train, validation = self._data.train, self._data.validation
        told = self._fit(
            self._hp,
            self.model,
            train.x,
            train.y,
            validation_data=(validation.x, validation.y),
            epochs=to_epoch,
            initial_epoch=from_epoch,
            callbacks=[_callback(on_epoch)],
            verbose=0,
        )
        curves = _curves(told, to_epoch - from_epoch)
        for name in ("loss", "val_loss"):
            for epoch, value in enumerate(curves.get(name, ()), start=from_epoch + 1):
                if not math.isfinite(value):
                    raise SegmentFailed(f"{name} is {value} after epoch {epoch}: training diverged")
        return curves

    def state(self) -> State:
        optimizer = self.model.optimizer
        slots = tuple(v.numpy() for v in optimizer.variables) if optimizer is not None else ()
        return State(tuple(v.numpy() for v in self.model.variables), slots)

    def load(self, state: State) -> None:
        """Put the model's variables back."""
        for variable, value in zip(self.model.variables, state.model, strict=True):
            variable.assign(value)

    def finalize(self) -> None:
        """Nothing: its `fit` has done what there is to do."""

    def evaluate(self, part: Part, batch_size: int) -> dict[str, float]:
        """The loss and metrics on samples that were not trained on."""
        told: Mapping[str, float] = self.model.evaluate(
            part.x, part.y, batch_size=batch_size, verbose=0, return_dict=True
        )
        return {name: float(value) for name, value in told.items()}

    def _load(self, state: State) -> None:
        self.load(state)
        if state.optimizer:
            self.model.optimizer.build(self.model.trainable_variables)
            for variable, value in zip(self.model.optimizer.variables, state.optimizer, strict=True):
                variable.assign(value)


def ask(builder: Builder, hp: Any, model: Any, data: Data) -> None:
    """Let the `fit` ask `hp` for what it wants, without training: it is stopped where it calls `model.fit`."""

    class Reached(Exception):  # no error: the point up to which fit is wanted
        pass

    def stop(*_: Any, **__: Any) -> Any:
        raise Reached

    object.__setattr__(model, "fit", stop)
    few = (data.train.x[:8], data.train.y[:8])
    try:
        builder.hypermodel.fit(hp, model, *few, validation_data=few, epochs=1, callbacks=[], verbose=0)
    except Reached:
        pass
    finally:
        object.__delattr__(model, "fit")


def _callback(on_epoch: Any) -> Any:
    class Tell(keras().callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
            on_epoch(epoch + 1, {name: float(value) for name, value in (logs or {}).items()})

    return Tell()


def _curves(told: Any, epochs: int) -> Curves:
    history = getattr(told, "history", told)
    if isinstance(history, Mapping):
        lists = {str(n): list(v) if isinstance(v, list | tuple) else [v] * epochs for n, v in history.items()}
        return {name: tuple(float(value) for value in values) for name, values in lists.items()}
    if isinstance(history, int | float):
        return {"score": (float(history),) * epochs}
    kind = type(told).__name__
    raise SegmentFailed(f"the HyperModel's fit returned {kind}; a History, a dict of metrics or a number is wanted")
