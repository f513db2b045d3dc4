"""Dials: hyperparameters that a graph reads when it runs, so that turning one costs no retrace.

A `Dial` stands in stock Keras objects where a number would. Keras branches on some of these numbers in Python
(`if self.momentum != 0`); a dial answers as any number above zero would, and its graph works for zero too.

Which numbers are dials: the rates of dropout and noise layers, the strengths of L1/L2 regularisers, and an optimizer's
own numbers where they are given. The learning rate is a table of its own (`program.RateTable`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hptune.errors import SegmentFailed
from hptune.spec.architecture import LAYER_DIALS
from hptune.training.runtime import keras

PLACEHOLDER = 0.5
"""The rate that a layer is built with: above 0, since `Dropout(0)` has no seed generator."""

REGULARIZER_DIALS: Mapping[str, tuple[str, ...]] = {"L1": ("l1",), "L2": ("l2",), "L1L2": ("l1", "l2")}

OPTIMIZER_DIALS = (
    "momentum",
    "beta_1",
    "beta_2",
    "epsilon",
    "rho",
    "weight_decay",
    "clipnorm",
    "global_clipnorm",
    "clipvalue",
)


class Dial:
    """A float32 number held in a variable."""

    def __init__(self, value: float) -> None:
        import tensorflow as tf

        self.variable = tf.Variable(value, dtype=tf.float32, trainable=False)

    def set(self, value: float) -> None:
        self.variable.assign(value)

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> Any:
        import tensorflow as tf

        value = self.variable.read_value()
        return value if dtype is None else tf.cast(value, dtype)

    # What Keras asks a number in Python: every dial says "above zero".
    def __bool__(self) -> bool:
        return True

    def __gt__(self, other: Any) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    # Arithmetic gives tensors.
    def __add__(self, other: Any) -> Any:
        return self.__tf_tensor__() + other

    def __radd__(self, other: Any) -> Any:
        return other + self.__tf_tensor__()

    def __sub__(self, other: Any) -> Any:
        return self.__tf_tensor__() - other

    def __rsub__(self, other: Any) -> Any:
        return other - self.__tf_tensor__()

    def __mul__(self, other: Any) -> Any:
        return self.__tf_tensor__() * other

    def __rmul__(self, other: Any) -> Any:
        return other * self.__tf_tensor__()

    def __truediv__(self, other: Any) -> Any:
        return self.__tf_tensor__() / other

    def __rtruediv__(self, other: Any) -> Any:
        return other / self.__tf_tensor__()

    def __pow__(self, other: Any) -> Any:
        return self.__tf_tensor__() ** other

    def __neg__(self) -> Any:
        return -self.__tf_tensor__()


class Negated(Dial):
    """Minus another dial."""

    def __init__(self, dial: Dial) -> None:
        self.variable = dial.variable

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> Any:
        return -super().__tf_tensor__(dtype, name)


def in_layers(layers: list[Any], prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """The dials of built layers as (name, the object that holds the number, its attribute).

    A name is the layer's index path and the attribute's: `2.rate`, `0.kernel_regularizer.l2`. Layers inside wrappers
    (Bidirectional, TimeDistributed) keep plain numbers.
    """
    for index, layer in enumerate(layers):
        path = f"{prefix}{index}"
        inner = getattr(layer, "layers", None)
        if inner is not None:
            yield from in_layers(list(inner), f"{path}.")
            continue
        attribute = LAYER_DIALS.get(type(layer).__name__)
        if attribute is not None:
            yield f"{path}.{attribute}", layer, attribute
        for name in sorted(n for n in vars(layer) if n.endswith("_regularizer")):
            regularizer = getattr(layer, name)
            for number in REGULARIZER_DIALS.get(type(regularizer).__name__, ()):
                yield f"{path}.{name}.{number}", regularizer, number


def in_optimizer(optimizer: Any) -> Iterator[tuple[str, Any, str]]:
    """The dials of an optimizer: its numbers that are given. SGD's momentum counts only where it is above 0."""
    for attribute in OPTIMIZER_DIALS:
        number = getattr(optimizer, attribute, None)
        if isinstance(number, Dial) or (isinstance(number, int | float) and (attribute != "momentum" or number > 0)):
            yield f"optimizer.{attribute}", optimizer, attribute


def attach(places: Iterator[tuple[str, Any, str]]) -> dict[str, Dial]:
    """Put a dial in each place; return the dials by name."""
    dials: dict[str, Dial] = {}
    for name, holder, attribute in list(places):
        dials[name] = Dial(float(getattr(holder, attribute)))
        holder.__class__ = _dialled(type(holder))
        object.__setattr__(holder, attribute, dials[name])
    return dials


RATES = ("rate", "stddev", "momentum", "beta_1", "beta_2", "rho", "label_smoothing")
"""What must stay below 1."""


def check(dials: Mapping[str, float]) -> None:
    """What the constructors of Keras would have refused. Raises SegmentFailed."""
    for name, value in dials.items():
        attribute = name.rsplit(".", 1)[-1]
        if attribute in RATES and not 0 <= value < 1:
            raise SegmentFailed(f"{name} must be at least 0 and below 1, got {value}")
        if value < 0:
            raise SegmentFailed(f"{name} must be at least 0, got {value}")


def _dialled(stock: type) -> type:
    """The class that reads its rate from a dial, for the two whose stock code computes with it in Python."""
    if issubclass(stock, keras().layers.Dropout):
        return _dropout(stock)
    if stock is keras().layers.GaussianDropout:
        return _gaussian_dropout(stock)
    return stock


def _dropout(stock: type) -> type:
    """`keras.random.dropout` branches on the rate; this draws the very same mask with a rate that is a tensor."""

    def call(self: Any, inputs: Any, training: bool = False) -> Any:
        import tensorflow as tf
        from keras.src.backend.tensorflow.random import _cast_seed
        from keras.src.random.seed_generator import draw_seed

        if not training:
            return inputs
        shape = getattr(self, "_get_noise_shape", lambda _: self.noise_shape)(inputs)
        if shape is not None:
            real = tf.shape(inputs)
            shape = [real[i] if size is None else size for i, size in enumerate(shape)]
        return tf.nn.experimental.stateless_dropout(
            inputs,
            rate=tf.convert_to_tensor(self.rate, inputs.dtype),
            noise_shape=shape,
            seed=_cast_seed(draw_seed(self.seed_generator)),
        )

    return type(stock.__name__, (stock,), {"call": call})


def _gaussian_dropout(stock: type) -> type:
    def call(self: Any, inputs: Any, training: bool = False) -> Any:
        import tensorflow as tf

        if not training:
            return inputs
        rate = tf.convert_to_tensor(self.rate, inputs.dtype)
        noise = keras().random.normal(tf.shape(inputs), dtype=inputs.dtype, seed=self.seed_generator)
        return inputs * (1 + tf.sqrt(rate / (1 - rate)) * noise)

    return type(stock.__name__, (stock,), {"call": call})
