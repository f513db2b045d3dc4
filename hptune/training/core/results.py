"""What a model's steps take and return: batches as `fit` passes them, and metrics as `fit` reads them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hptune.base.errors import SegmentFailed
from hptune.training.core.batches import mapped
from hptune.training.core.loops import function
from hptune.training.models.compiled import scaled_by
from hptune.training.runtime import keras


def has_own_steps(model: Any) -> bool:
    """Whether it trains or is tested by a step that is not Keras's: then `fit` reports what that returns."""
    return not all(is_stock(model, step) for step in ("train_step", "test_step", "compute_metrics"))


def has_own_loops(model: Any) -> bool:
    """Whether it has its own code around the steps, or needs batches of one size: then `fit` itself must train it."""
    loops = ("fit", "evaluate", "make_train_function", "make_test_function", "get_metrics_result", "reset_metrics")
    if not all(is_stock(model, method) for method in ("compile", *loops)):
        return True
    if model.compiled and model.run_eagerly and has_own_steps(model):  # it may do what no graph can
        return True
    sizes = [one.shape[0] for one in keras().tree.flatten(getattr(model, "inputs", None) or [])]
    return any(size is not None for size in sizes) or any(
        getattr(layer, "stateful", False) and isinstance(layer, keras().layers.RNN) for layer in model._flatten_layers()
    )


def is_stock(model: Any, method: str) -> bool:
    """Whether a method is Keras's: neither of the model's own class nor set on the object by the user's code."""
    put = vars(model).get(method)
    if put is not None and not (getattr(put, "__module__", None) or "").startswith("hptune."):
        return False
    return getattr(type(model), method) is getattr(keras().Model, method)


def has_call(model: Any) -> bool:
    """Whether it has a `call`: a model that trains by a step of its own may have none."""
    return type(model).call is not keras().Model.call


NOT_VALIDATED = "its class has no test_step, and Keras's own needs a call() and a loss"


def can_be_validated(model: Any) -> bool:
    """Whether `fit` can evaluate it: by its own step, or by its predictions and a loss."""
    if not all(is_stock(model, method) for method in ("test_step", "evaluate", "make_test_function")):
        return True
    if not has_call(model):
        return False
    return model._compile_loss is not None or not is_stock(model, "compute_loss") or bool(model.losses)


def makes_its_own_loss(model: Any) -> bool:
    """Whether its own code computes the loss, and may use the target in any way."""
    return has_own_steps(model) or not is_stock(model, "compute_loss")


def packed(batch: Any) -> Any:
    """A batch as Keras's `fit` passes it to a step: (x, y) where samples have no weights."""
    x, y, weight = batch
    return (x, y) if weight is None else (x, y, weight)


def reported_by(step: Callable[[Any], Any], example: Any) -> list[str]:
    """The names of the metrics that a model's own step returns. It is traced for that, which makes its variables."""
    import tensorflow as tf

    specs = mapped(lambda a: tf.TensorSpec([None, *a.shape[1:]], a.dtype), example)
    with _stock_optimizer(step):
        reported = function(step, xla=False).get_concrete_function(specs).structured_outputs
    if not isinstance(reported, Mapping):
        raise SegmentFailed(f"{step.__qualname__} returned {type(reported).__name__}, and a dict of metrics is wanted")
    return [name for key, value in in_order(reported).items() for name in numbered(key, value)]


@contextlib.contextmanager
def _stock_optimizer(step: Callable[[Any], Any]) -> Iterator[None]:
    """Within the block, one of Keras's optimizers stands in for a user's that is not built: tracing a step would build
    it, and what it then makes of the weights would stay.
    """
    model: Any = getattr(step, "__self__", None)
    own = getattr(model, "optimizer", None)
    if own is None or own.built or type(scaled_by(own)).__module__.split(".")[0] == "keras":
        yield
        return
    model.optimizer = keras().optimizers.SGD(0.0)
    try:
        yield
    finally:
        model.optimizer = own


def is_whole(model: Any) -> bool:
    """Whether it and its layers have made their variables; a class of which only `build` was called has not."""
    return bool(model.built) and all(one.built for one in model._flatten_layers())


def build_as_fit(model: Any, x: Any) -> None:
    """Have a model without an input shape make its variables, as `fit` does: by tracing it on a batch.

    Nothing runs, so that variables which a call changes (a counter, a running mean, the state of a generator, what the
    first batch decides) stay as they were made. x: a few samples.
    """
    import tensorflow as tf

    training = {"training": True} if model._call_has_training_arg else {}
    specs = mapped(lambda a: tf.TensorSpec([None, *a.shape[1:]], a.dtype), x)
    function(lambda batch: model(batch, **training), xla=False).get_concrete_function(specs)


def reported_by_metrics(model: Any, returned: Mapping[str, Any]) -> dict[str, Any] | None:
    """The results of the model's metrics, which `fit` reports in place of a step's where the names match; or None."""
    try:
        metrics = model.get_metrics_result()
    except ValueError:  # a step of the user's own has not asked one that was compiled
        return None
    return {name: metrics[name] for name in returned} if set(metrics) == set(returned) else None


def in_order(results: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics, the loss first. A dict among them (`compile_metrics`) is replaced by its items, as in `fit`."""
    flat: dict[str, Any] = {}
    for name, value in results.items():
        flat |= in_order(value) if isinstance(value, Mapping) else {name: value}
    return {**({"loss": flat["loss"]} if "loss" in flat else {}), **flat}


def numbers(results: Mapping[str, Any]) -> list[Any]:
    """The metrics as float32 scalars; a metric of several numbers gives several scalars."""
    import tensorflow as tf

    values = [tf.cast(value, tf.float32) for value in in_order(results).values()]
    return [number for one in values for number in (tf.unstack(tf.reshape(one, [-1])) if one.shape.rank else [one])]


def numbered(name: str, value: Any) -> list[str]:
    """The names of a metric in the curves: `f1_score.0`, `f1_score.1`, … where it is several numbers."""
    shape = tuple(value.shape)
    return [f"{name}.{number}" for number in range(math.prod(shape))] if shape else [name]
