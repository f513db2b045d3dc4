"""The kernel that stands for Keras's Adam: the same formula, and left alone what it does not know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hptune.training.core.fused import fuse
from hptune.training.models.dials import Dial
from hptune.training.runtime import keras

STEPS = 5


def stepped(optimizer: Any, gradients: list[Any]) -> list[Any]:
    """The variable after these steps, and every variable of the optimizer's."""
    import tensorflow as tf

    variable = keras().Variable(np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3))
    optimizer.build([variable])
    apply = tf.function(lambda gradient: optimizer.apply([gradient], [variable]), autograph=False)
    for gradient in gradients:
        apply(gradient)
    return [variable.numpy(), *(one.numpy() for one in optimizer.variables)]


def dense_gradients() -> list[Any]:
    import tensorflow as tf

    random = np.random.default_rng(0)
    return [tf.constant(random.normal(size=(4, 3)).astype(np.float32)) for _ in range(STEPS)]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Adam", {}),
        ("Adam", {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3}),
        ("AdamW", {"weight_decay": 0.1}),
        ("Adam", {"clipnorm": 0.5, "use_ema": True}),
    ],
)
def test_it_computes_what_keras_computes(name: str, arguments: dict[str, Any]) -> None:
    kind = getattr(keras().optimizers, name)
    stock, fused = kind(0.1, **arguments), kind(0.1, **arguments)
    fuse(fused)
    assert type(fused) is not kind
    for ours, theirs in zip(stepped(fused, dense_gradients()), stepped(stock, dense_gradients()), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=5e-5, atol=1e-6)  # the kernel's 1 - beta_2 is float32's


def test_the_numbers_that_are_dials_are_read_when_it_runs() -> None:
    plain, dialled = keras().optimizers.Adam(0.1, beta_1=0.3), keras().optimizers.Adam(0.1)
    dialled.beta_1 = Dial()
    for optimizer in (plain, dialled):
        fuse(optimizer)
    dialled.beta_1.set(0.3)
    np.testing.assert_array_equal(stepped(plain, dense_gradients())[0], stepped(dialled, dense_gradients())[0])


def test_a_gradient_of_a_few_rows_is_left_to_keras() -> None:
    import tensorflow as tf

    rows = [tf.IndexedSlices(g[:2], tf.constant([0, 3]), tf.constant([4, 3])) for g in dense_gradients()]
    stock, fused = keras().optimizers.Adam(0.1), keras().optimizers.Adam(0.1)
    fuse(fused)
    for ours, theirs in zip(stepped(fused, rows), stepped(stock, rows), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_what_the_kernel_does_not_know_updates_as_it_always_did() -> None:
    adam = keras().optimizers.Adam

    class Own(adam):  # type: ignore[misc, valid-type]  # Keras has no types
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            self.assign_sub(variable, gradient)

    others: list[Callable[[], Any]] = [
        lambda: adam(0.1, amsgrad=True),
        Own,
        lambda: keras().optimizers.SGD(0.1, momentum=0.9),
    ]
    others.append(lambda: keras().optimizers.Nadam(0.1))
    for make in others:
        stock, fused = make(), make()
        fuse(fused)
        for ours, theirs in zip(stepped(fused, dense_gradients()), stepped(stock, dense_gradients()), strict=True):
            np.testing.assert_array_equal(ours, theirs)
