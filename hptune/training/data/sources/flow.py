"""Samples from a user's `tf.data.Dataset`, in its own order.

The function that makes it is called anew, under a seed, wherever a pass must begin in a known state: what the data set
shuffles then depends on that seed and on the pass alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from hptune.base import surroundings
from hptune.base.errors import KeyPath, spec_error
from hptune.base.user_code import load_object
from hptune.training.own.modules import forget, imported, own_modules
from hptune.training.own.namespaces import Namespace, seen_now
from hptune.training.runtime import keras

PYTHON: KeyPath = ("data", "python")

SINGLES = 64
"""The batch size for samples that come one by one, where none is asked for."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One part of what a function returns. Plain data, so that it can be passed to another process.

    reference: `module:function`, looked for beside the YAML file in `folder` first. index: of the part among those that
    it returns. steps: how many of the data set's own elements make a pass; None: all of them. rows: samples in a pass.
    data_seed: under which the function is called, so that it splits alike each time. alike: whether TensorFlow shuffles
        alike each time too (in another order in each pass), since the parts seem to come from one shuffled set.
    column: whether a target [n, 1] stays so; else it becomes [n], as arrays do. offset: subtracted from the target
    before it becomes float32, a number for each of its places; (): nothing.
    """

    reference: str
    folder: Path
    index: int
    steps: int | None
    rows: int
    data_seed: int = 0
    alike: bool = False
    column: bool = False
    offset: tuple[float, ...] = ()

    def open(self, seed: int, *, endless: bool) -> Any:
        """A fresh `tf.data.Dataset` of batches (x, y) or (x, y, sample_weight): one pass, or endless passes.

        seed: of their order, and of all other random numbers while samples are read.
        """
        returned = called(self.reference, self.folder, self.data_seed, afterwards=seed, alike=self.alike)
        parts = returned if isinstance(returned, tuple | list) else (returned,)
        if self.index >= len(parts) or not is_dataset(parts[self.index]):
            problem = f"{self.reference} returned data sets when it was called first, and something else now."
            raise spec_error(f"{problem} Return the same at each call.", *PYTHON)
        return in_batches(parts[self.index], self.steps, endless=endless, column=self.column, offset=self.offset)

    def for_fit(self, seed: int, *, batch_size: int | None = None, rows: int | None = None) -> Any:
        """One pass as Keras's `fit` takes it: in the function's own batches, or of `batch_size`; with the first `rows`
        samples, or all.
        """
        import tensorflow as tf

        dataset = self.open(seed, endless=False)
        if rows is None and batch_size is None:
            return dataset
        count = self.rows if rows is None else min(rows, self.rows)
        size = batch_size or min(count, SINGLES)
        cut = dataset.unbatch().take(count).batch(size)
        # With a data set of unknown length, `fit` runs one more step to find the end, and part of that counts.
        return cut.apply(tf.data.experimental.assert_cardinality(-(-count // size)))


def called(reference: str, folder: Path, seed: int, *, afterwards: int | None = None, alike: bool = False) -> Any:
    """What the function returns, the same at each call: its modules are first put back as they were at the first call.

    What it sets in them and in the environment stays, since models may build on it. afterwards: the seed while samples
    are read; None: `seed`. alike: TensorFlow shuffles under `seed` nevertheless.
    """
    function = load_object(reference, folder, PYTHON)
    module = sys.modules[reference.partition(":")[0]]
    if (known := _BEFORE.get(reference)) is not None and known[0] is module:
        before = known[1]
        for namespace in before:
            namespace.put_back()
        forget(_LATE)
        _LATE.clear()
    else:
        before = [held for namespace in own_modules(reference, folder) for held in seen_now(namespace)]
        _BEFORE[reference] = module, before
    later = seed if afterwards is None else afterwards
    environ = dict(os.environ)
    keras().utils.set_random_seed(seed)
    if not alike:
        _seed_tensorflow(later)
    with surroundings.kept(), imported(_LATE.append):
        returned = function()
        after = dict(os.environ)
    if after != environ:
        with surroundings.importing():
            os.environ.update(after)
    _LEFT[reference] = (
        _LEFT.get(reference, False) or after != environ or any(namespace.differs() for namespace in before)
    )
    keras().utils.set_random_seed(later)
    return returned


_BEFORE: dict[str, tuple[ModuleType, list[Namespace]]] = {}
"""By the function's reference: its module, and what its modules held before the first call."""

_LEFT: dict[str, bool] = {}
"""By the function's reference: whether its calls in this process left anything behind."""


def leaves(reference: str) -> bool:
    """Whether the function has set something that the user's other code may read: a global, the environment."""
    return _LEFT.get(reference, False)


def was_called(reference: str) -> bool:
    """Whether the function was called in this process, from the module that is loaded now."""
    known = _BEFORE.get(reference)
    return known is not None and known[0] is sys.modules.get(reference.partition(":")[0])


_LATE: list[ModuleType] = []
"""Modules that a function imported as it ran; its next call imports them anew."""


def _seed_tensorflow(seed: int) -> None:
    import tensorflow as tf

    tf.random.set_seed(seed)


def is_dataset(obj: Any) -> bool:
    """Whether this is a `tf.data.Dataset`."""
    import tensorflow as tf

    return isinstance(obj, tf.data.Dataset)


def in_batches(
    dataset: Any,
    steps: int | None,
    *,
    endless: bool,
    column: bool = False,
    offset: Sequence[float] = (),
    exact: bool = False,
) -> Any:
    """The data set as batches of float32 or int32, endless, or ended after `steps` of its own elements.

    exact: each element is the pair of (x, y with all their digits) and the batch itself.

    A data set of single samples is batched; see `comes_in_batches`.
    """
    if endless:
        dataset = dataset.repeat()
    elif steps is not None:
        dataset = dataset.take(steps)
    batched = dataset if comes_in_batches(dataset) else dataset.batch(SINGLES)

    def plain(*batch: Any) -> Any:
        prepared = _plain(batch, column=column, offset=offset)
        return (as_given(batch), prepared) if exact else prepared

    return batched.map(plain)


def as_given(batch: Sequence[Any]) -> tuple[Any, Any]:
    """(x, y) of a batch with all their digits."""
    import tensorflow as tf

    x, y = (one if one.dtype.is_integer else tf.cast(one, tf.float64) for one in batch[:2])
    return x, y[:, 0] if y.shape.rank == 2 and y.shape[1] == 1 else y


def _plain(batch: Sequence[Any], *, column: bool, offset: Sequence[float] = ()) -> Any:
    """The batch in training's dtypes: int32 for the numbers of classes and words, float32 for all else."""
    import tensorflow as tf

    x, y, *weights = batch
    if offset:
        y = tf.cast(y, tf.float64) - tf.constant(offset if len(offset) > 1 else offset[0], tf.float64)
    labels = _whole(y, "y") if y.dtype.is_integer else tf.cast(y, tf.float32)
    if not column and labels.shape.rank == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    words = x.dtype.is_integer and x.dtype != tf.uint8  # bytes are pictures
    x = _whole(x, "x") if words else tf.cast(x, tf.float32)
    return x, labels, *(tf.cast(weight, tf.float32) for weight in weights)


def _whole(tensor: Any, name: str) -> Any:
    """The tensor as int32; reading fails where a number does not fit."""
    import tensorflow as tf

    whole = tf.cast(tensor, tf.int32)
    if tensor.dtype.size < tf.int32.size or tensor.dtype == tf.int32:
        return whole
    fits = tf.reduce_all(tf.cast(whole, tensor.dtype) == tensor)
    with tf.control_dependencies([tf.debugging.Assert(fits, [f"{name} holds whole numbers beyond 32 bits"])]):
        return tf.identity(whole)


def comes_in_batches(dataset: Any) -> bool:
    """Whether the elements are batches: all tensors in one have the same first axis, or one of unknown size."""
    shapes = [spec.shape for spec in keras().tree.flatten(dataset.element_spec) if spec is not None]
    if any(shape.rank == 0 for shape in shapes):
        return False
    return len({shape[0] if shape.rank is not None else None for shape in shapes}) == 1
