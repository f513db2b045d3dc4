"""How an epoch gets its batches: from the device, where the samples lie whole, or streamed from the disk.

A `Feed` is the traced function's input for one pass over the samples: either the samples with the order in which to
take them, or an iterator over batches. `next_batch` takes a batch from either.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from hptune.base import seeds
from hptune.training.data import Part
from hptune.training.data.sources.flow import Flow
from hptune.training.data.store.shared import ALIGNED
from hptune.training.data.store.stored import Stored
from hptune.training.runtime import keras

Feed: TypeAlias = Any

READERS = 2
"""Threads that gather batches from the disk ahead of training."""


class Batches(Protocol):
    """The samples of one part, in batches of a given size and a smaller rest."""

    streamed: bool

    def shuffled(self, order_seed: int, epoch: int, batch_size: int, *, steps: int | None = None) -> Feed:
        """The samples in the order of `epoch` (from 0), a pure function of both arguments.

        steps: how many of its batches are needed, from the first on; None: all of them.
        """
        ...

    def whole(self, batch_size: int) -> Feed:
        """The samples in their own order."""
        ...


_BATCHES: WeakKeyDictionary[Part, Batches] = WeakKeyDictionary()


def batches(part: Part) -> Batches:
    """The batches of a part: one object for all programs, of which one runs at a time.

    So samples lie on the device once; and TensorFlow never frees the graph of a data set's function.
    """
    if part not in _BATCHES:
        _BATCHES[part] = _batches_of(part)
    return _BATCHES[part]


def _batches_of(part: Part) -> Batches:
    if part.flow is not None:
        return _Flowing(part.flow)
    if any(isinstance(leaf, Stored) for leaf in leaves(part.x)):
        return _Gathered(part)
    return _OnDevice(part)


def next_batch(feed: Feed, start: Any, size: Any) -> Any:
    """In a graph: `size` samples (x, y, sample_weight), from the place `start` of the order on.

    size: a tensor, or a Python number where shapes must be static. An iterator keeps its own place: all its batches
    must be taken in turn.
    """
    import tensorflow as tf

    if isinstance(feed, tf.data.Iterator):
        batch = feed.get_next()
        return _sized(batch, size) if isinstance(size, int) else batch
    samples, order = feed
    if order is None:
        return mapped(lambda a: a[start : start + size], samples)
    rows = tf.slice(order, [start], [size])
    return mapped(lambda a: tf.gather(a, rows), samples)


def sample_order(order_seed: int, epoch: int, rows: int) -> NDArray[np.int32]:
    """int32 [rows]: the order of the training samples in `epoch` (from 0), a pure function of its arguments."""
    return np.random.default_rng(seeds.derive(order_seed, "order", epoch)).permutation(rows).astype(np.int32)


class _OnDevice:
    """Samples that lie on the device whole."""

    streamed = False

    def __init__(self, part: Part) -> None:
        self._rows = len(part)
        self._samples = mapped(_tensor, (part.x, part.y, part.sample_weight))

    def shuffled(
        self,
        order_seed: int,
        epoch: int,
        batch_size: int,  # noqa: ARG002  # cut in the graph
        *,
        steps: int | None = None,  # noqa: ARG002
    ) -> Feed:
        import tensorflow as tf

        return self._samples, tf.constant(sample_order(order_seed, epoch, self._rows))

    def whole(self, batch_size: int) -> Feed:  # noqa: ARG002  # cut in the graph
        return self._samples, None


def _tensor(array: NDArray[Any]) -> Any:
    """The array on the device. A CPU uses it in place, so that workers who share its file hold it once.

    `tf.constant` would copy it, twice for a while. An array that is not aligned as TensorFlow needs it is copied.
    """
    import tensorflow as tf

    if tf.config.list_logical_devices("GPU") or array.ctypes.data % ALIGNED or not array.size:
        return tf.constant(array)
    memory: Any = (ctypes.c_byte * array.nbytes).from_address(array.ctypes.data)  # DLPack takes no read-only array
    memory.array = array  # keeps it
    alias = np.frombuffer(memory, array.dtype).reshape(array.shape)
    return tf.experimental.dlpack.from_dlpack(alias.__dlpack__())


class _Gathered:
    """Samples on the disk, gathered by a few threads ahead of training; the batches still come in order."""

    streamed = True

    def __init__(self, part: Part) -> None:
        self._rows = len(part)
        self._samples = (part.x, part.y, part.sample_weight)
        self._leaves = leaves(self._samples)
        self._order: NDArray[np.int32] | None = None
        self._datasets: dict[int, Any] = {}

    def shuffled(self, order_seed: int, epoch: int, batch_size: int, *, steps: int | None = None) -> Feed:  # noqa: ARG002
        self._order = sample_order(order_seed, epoch, self._rows)
        return self._cut(batch_size)

    def whole(self, batch_size: int) -> Feed:
        self._order = None
        return self._cut(batch_size)

    def _cut(self, batch_size: int) -> Feed:
        if batch_size not in self._datasets:
            self._datasets[batch_size] = self._dataset(batch_size)
        return iter(self._datasets[batch_size])

    def _dataset(self, batch_size: int) -> Any:
        import tensorflow as tf

        dtypes = [tf.as_dtype(leaf.dtype) for leaf in self._leaves]

        def batch(start: Any) -> Any:
            gathered = tf.numpy_function(partial(self._gather, batch_size), [start], dtypes)
            for tensor, leaf in zip(gathered, self._leaves, strict=True):
                tensor.set_shape([None, *leaf.shape[1:]])
            rest = iter(gathered)
            return mapped(lambda _: next(rest), self._samples)

        return _ordered(tf.data.Dataset.range(0, self._rows, batch_size).map(batch, READERS)).prefetch(READERS)

    def _gather(self, batch_size: int, start: int) -> list[NDArray[Any]]:
        place = slice(start, start + batch_size)
        rows = place if self._order is None else self._order[place]
        return [np.ascontiguousarray(leaf[rows]) for leaf in self._leaves]


class _Flowing:
    """Samples of a user's `tf.data.Dataset`, in its own order; divided anew into batches of the trial's size.

    An epoch goes on where the one before ended. Trained in another process than that one, it skips the earlier epochs,
    so that it gets the same samples.
    """

    streamed = True

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._stands: tuple[int, int, int] | None = None  # whose order, its batch size, and which epoch comes next
        self._iterator: Any = None
        self._once: dict[int, Any] = {}

    def shuffled(self, order_seed: int, epoch: int, batch_size: int, *, steps: int | None = None) -> Feed:
        whole = -(-self._flow.rows // batch_size)
        if self._stands != (order_seed, batch_size, epoch):
            # Under a seed of the trial's own, so that what it shuffles does not depend on what ran before.
            endless = self._cut(self._flow.open(order_seed % 2**31, endless=True), batch_size)
            self._iterator = iter(_ordered(endless.skip(epoch * whole)).prefetch(READERS))
        # After part of an epoch the iterator is in the middle of it: the next epoch is sought from the start.
        self._stands = (order_seed, batch_size, epoch + 1) if steps is None or steps == whole else None
        return self._iterator

    def whole(self, batch_size: int) -> Feed:
        if batch_size not in self._once:
            once = self._flow.open(0, endless=False)
            self._once[batch_size] = _ordered(self._cut(once, batch_size)).prefetch(READERS)
        return iter(self._once[batch_size])

    def _cut(self, dataset: Any, batch_size: int) -> Any:
        """Batches of that size, with the rest at the end of each pass."""
        whole, rest = divmod(self._flow.rows, batch_size)
        return dataset.rebatch([batch_size] * whole + ([rest] if rest else [])).map(_as_triple)


def _as_triple(*batch: Any) -> Any:
    x, y, *weight = batch
    return x, y, weight[0] if weight else None


def _ordered(dataset: Any) -> Any:
    """The dataset, whose elements come in order however many threads make them."""
    import tensorflow as tf

    options = tf.data.Options()
    options.deterministic = True
    options.threading.private_threadpool_size = READERS
    return dataset.with_options(options)


def _sized(batch: Any, size: int) -> Any:
    """The batch with a static size; a batch of another size is an error when the graph runs."""
    import tensorflow as tf

    return mapped(lambda a: tf.ensure_shape(a, [size, *a.shape[1:]]), batch)


def mapped(function: Callable[[Any], Any], structure: Any) -> Any:
    """The structure with `function` applied to every leaf; None stays None."""
    return keras().tree.map_structure(lambda leaf: None if leaf is None else function(leaf), structure)


def leaves(structure: Any) -> list[Any]:
    """The leaves of the structure, without None."""
    return [leaf for leaf in keras().tree.flatten(structure) if leaf is not None]
