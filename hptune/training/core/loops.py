"""Loops in a graph: one step for every batch of an epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def each_batch(rows: int, batch_size: Any, step: Callable[[Any, Any], Any]) -> None:
    """`step(start, size)` for every batch, in a graph; the last one may be smaller.

    batch_size: a tensor, then one loop takes all batches; or a Python number, then every shape is static: a loop over
    the full batches, and one more step for the rest.
    """
    import tensorflow as tf

    if not isinstance(batch_size, int):
        last = (rows - 1) // batch_size
        _loop(last + 1, lambda at: step(at * batch_size, tf.minimum(batch_size, rows - at * batch_size)))
        return
    whole, rest = divmod(rows, batch_size)
    if whole == 1:
        step(0, batch_size)
    elif whole:
        _loop(whole, lambda at: step(at * batch_size, batch_size))
    if rest:
        step(whole * batch_size, rest)


def _loop(times: Any, step: Callable[[Any], Any]) -> None:
    """`step(0)`, `step(1)` and so on, one after the other, in a graph."""
    import tensorflow as tf

    def body(index: Any) -> Any:
        step(index)
        return [index + 1]  # a list: run eagerly, the next turn is called with it

    tf.while_loop(lambda index: index < times, body, [tf.constant(0)], parallel_iterations=1)


def last_batch(rows: int, batch_size: Any, step: Callable[[Any, Any], Sequence[Any]]) -> list[Any]:
    """`step(start, size)` for every batch; returns its tensors for the last one, as `fit` reports them.

    batch_size: a tensor. The first step is outside the loop: its tensors have the shapes of all others.
    """
    import tensorflow as tf

    def at(index: Any) -> list[Any]:
        start = index * batch_size
        return list(step(start, tf.minimum(batch_size, rows - start)))

    first = at(tf.constant(0))
    times = (rows - 1) // batch_size + 1
    outputs = tf.while_loop(
        lambda index, *_: index < times,
        lambda index, *_: (index + 1, *at(index)),
        [tf.constant(1), *first],
        parallel_iterations=1,
    )
    return list(outputs[1:])


def function(python: Callable[..., Any], *, xla: bool, eagerly: bool = False) -> Any:
    """The function as a graph, without AutoGraph; or as it is, for a model that is run eagerly."""
    import tensorflow as tf

    return python if eagerly else tf.function(python, autograph=False, jit_compile=xla or None)


def number(value: int) -> Any:
    """A number as a tensor, so that the graph is not traced for each value."""
    import tensorflow as tf

    return tf.constant(value, tf.int32)
