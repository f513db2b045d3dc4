"""Dials: hyperparameters that a graph reads when it runs, so that turning one costs no retrace.

A `Dial` stands in stock Keras objects where a number would; the table in `experiment/dials.py` says which numbers.
Keras branches on some of them in Python (`if self.momentum != 0`); a dial answers as any number above zero would, and
its graph works for zero too. Arithmetic with it is that of Python's own numbers: in float64 among numbers, in the
tensor's type with a tensor, so that `1 - beta_2` has the digits that it has in Keras.

Layers and regularisers are made with their dials in place, so that each stands wherever Keras puts the object: in the
cell of an LSTM, in the projections of attention, in a copy that a wrapper makes from its config. In a model that was
built elsewhere they are looked for. A dial that was never turned is NaN, so that a forgotten one can't train silently.
The learning rate is a table of its own (`rate_table`).
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar
from weakref import WeakValueDictionary

from hptune.experiment import dials as table
from hptune.training.runtime import keras

PLACEHOLDER = 0.5
"""What stands in a config until the dial takes its place: in every range of the table, and above 0, since `Dropout(0)`
has no seed generator."""


class Number:
    """A number that is known only when the graph runs. value: returns it as a float64 tensor."""

    def __init__(self, value: Callable[[], Any]) -> None:
        self.value = value

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> Any:
        import tensorflow as tf

        return self.as_type(dtype if dtype is not None else tf.float32)

    def as_type(self, dtype: Any) -> Any:
        """A tensor of that type."""
        import tensorflow as tf

        return tf.cast(self.value(), dtype)

    def __float__(self) -> float:
        """NaN: Python code that needs a number now can't have one, and what it computes from it is NaN too."""
        return float("nan")

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

    def __add__(self, other: Any) -> Any:
        return _combined(operator.add, self, other)

    def __radd__(self, other: Any) -> Any:
        return _combined(operator.add, other, self)

    def __sub__(self, other: Any) -> Any:
        return _combined(operator.sub, self, other)

    def __rsub__(self, other: Any) -> Any:
        return _combined(operator.sub, other, self)

    def __mul__(self, other: Any) -> Any:
        return _combined(operator.mul, self, other)

    def __rmul__(self, other: Any) -> Any:
        return _combined(operator.mul, other, self)

    def __truediv__(self, other: Any) -> Any:
        return _combined(operator.truediv, self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _combined(operator.truediv, other, self)

    def __pow__(self, other: Any) -> Any:
        return _combined(operator.pow, self, other)

    def __rpow__(self, other: Any) -> Any:
        return _combined(operator.pow, other, self)

    def __neg__(self) -> Number:
        return Number(lambda: -self.value())


def _combined(operation: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """The result: a Number where both are numbers; with a tensor a tensor of its type, as with Python's numbers."""
    import tensorflow as tf

    def number(operand: Any) -> Any:
        return operand.value() if isinstance(operand, Number) else tf.constant(operand, tf.float64)

    others = [one for one in (left, right) if not isinstance(one, Number | int | float)]
    if not others:
        return Number(lambda: operation(number(left), number(right)))
    tensor = tf.convert_to_tensor(others[0])
    kind = tensor.dtype if tensor.dtype.is_floating else tf.float32
    return operation(
        *(one.as_type(kind) if isinstance(one, Number) else tf.cast(tensor, kind) for one in (left, right))
    )


class Dial(Number):
    """A number held in variables; NaN until it is turned. placed: the number of objects that it stands in.

    It is nearly always read as float32, so that is a variable of its own: a cast at every use would cost a tenth of a
    small net's step.
    """

    _known: ClassVar[WeakValueDictionary[int, Dial]] = WeakValueDictionary()
    _keys: ClassVar[Iterator[int]] = itertools.count()

    def __init__(self) -> None:
        import tensorflow as tf

        self._double = tf.Variable(float("nan"), dtype=tf.float64, trainable=False)
        self._single = tf.Variable(float("nan"), dtype=tf.float32, trainable=False)
        super().__init__(self._double.read_value)
        self.placed = 0
        self.key = next(Dial._keys)
        Dial._known[self.key] = self

    def set(self, value: float) -> None:
        """Turn it to `value`."""
        self._double.assign(value)
        self._single.assign(value)

    def as_type(self, dtype: Any) -> Any:
        """Its value as a tensor of `dtype`."""
        import tensorflow as tf

        return self._single.read_value() if dtype == tf.float32 else super().as_type(dtype)

    @staticmethod
    def known(key: int) -> Dial:
        """The dial with that key, for an object that was copied by its config."""
        return Dial._known[key]


# --- made with their dials in place ---------------------------------------------------------------------------------


def placed(stock: type, arguments: Mapping[str, Any]) -> Any:
    """An object of the stock class, with the dials among its arguments in place."""
    dials = {name: value for name, value in arguments.items() if isinstance(value, Dial)}
    made = stock(**{**arguments, **dict.fromkeys(dials, PLACEHOLDER)})
    return _with(made, dials) if dials else made


def _with(made: Any, dials: Mapping[str, Dial]) -> Any:
    for attribute, dial in dials.items():
        kind: Any = type(made)
        made.__class__ = _dialled(kind)
        object.__setattr__(made, attribute, dial)
        dial.placed += 1
    return made


# --- in what was built elsewhere ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """Where a number stands in a built object.

    path: in the model's config; () for an optimizer's.
    """

    name: str
    holder: Any
    attribute: str
    path: tuple[str | int, ...] = ()

    @property
    def number(self) -> float:
        """The number that stands there now."""
        return float(getattr(self.holder, self.attribute))


def in_model(model: Any, config: Any) -> Iterator[Place]:
    """The dials of a Sequential or functional model, and of models inside it, that are shown to have an effect.

    config: the model's own. A name is the layer's index path and the attribute's: `2.rate`, `0.kernel_regularizer.l2`.
    Layers inside wrappers, classes of the user's own and numbers out of the table's range keep plain numbers.
    """
    yield from _in_layers(model.layers, config, prefix="", path=())


def _in_layers(layers: Iterable[Any], config: Any, *, prefix: str, path: tuple[str | int, ...]) -> Iterator[Place]:
    at = {layer["config"].get("name"): index for index, layer in enumerate(config.get("layers", ()))}
    for index, layer in enumerate(layers):
        if layer.name not in at:
            continue
        place = (*path, "layers", at[layer.name], "config")
        own = config["layers"][at[layer.name]]["config"]
        if isinstance(layer, keras().Model):
            yield from _in_layers(layer.layers, own, prefix=f"{prefix}{index}.", path=place)
            continue
        if not _is_keras(layer):
            continue
        for attribute, allowed in table.LAYERS.get(type(layer).__name__, {}).items():
            if allowed.holds(own.get(attribute)) and getattr(layer, attribute, None) == own[attribute]:
                yield Place(f"{prefix}{index}.{attribute}", layer, attribute, (*place, attribute))
        for name in sorted(n for n in vars(layer) if n.endswith("_regularizer")):
            regularizer = getattr(layer, name)
            serialized = own.get(name)
            if (
                not isinstance(serialized, Mapping)
                or not _is_keras(regularizer)
                or not _counts(regularizer, name, layer)
            ):
                continue
            for number, allowed in table.REGULARIZERS.get(type(regularizer).__name__, {}).items():
                if allowed.holds(serialized["config"].get(number)):
                    where = (*place, name, "config", number)
                    yield Place(f"{prefix}{index}.{name}.{number}", regularizer, number, where)


def _counts(regularizer: Any, name: str, layer: Any) -> bool:
    """Whether it is the very object that penalises a variable of the layer, or its output."""
    own = (variable.regularizer for variable in layer.variables if hasattr(variable, "regularizer"))
    return name == "activity_regularizer" or any(one is regularizer for one in own)


def in_optimizer(optimizer: Any) -> Iterator[Place]:
    """The dials of a stock optimizer: those of its numbers that are set."""
    if not _is_keras(optimizer):
        return
    for attribute, allowed in table.OPTIMIZERS.get(type(optimizer).__name__, {}).items():
        if allowed.holds(getattr(optimizer, attribute, None)):
            yield Place(f"optimizer.{attribute}", optimizer, attribute)


def _is_keras(obj: Any) -> bool:
    return type(obj).__module__.split(".")[0] == "keras"


def attach(places: Iterable[Place]) -> dict[str, Dial]:
    """Put a dial in each place; returns the dials by name."""
    dials: dict[str, Dial] = {}
    for place in list(places):
        dials[place.name] = Dial()
        _with(place.holder, {place.attribute: dials[place.name]})
    return dials


def attach_to_optimizer(optimizer: Any, names: Iterable[str]) -> dict[str, Dial]:
    """Put a dial in place of each of these numbers (`optimizer.momentum` and the like) of an optimizer not built yet.

    Whatever number stood there, even 0: so it makes the slots that any other number would.
    """
    dials: dict[str, Dial] = {}
    for name in names:
        attribute = name.removeprefix("optimizer.")
        assert hasattr(optimizer, attribute), f"{type(optimizer).__name__} has no {attribute}"
        dials[name] = Dial()
        object.__setattr__(optimizer, attribute, dials[name])
        dials[name].placed += 1
    return dials


def in_config(config: Any, paths: Iterable[tuple[str | int, ...]], value: Any) -> Any:
    """A config with `value` at each of the paths; only what lies on the way to one is copied."""
    for first, *rest in paths:
        copy: Any = dict(config) if isinstance(config, Mapping) else list(config)
        copy[first] = in_config(copy[first], [tuple(rest)], value) if rest else value
        config = copy
    return config


# --- the classes that read a dial where the stock ones compute in Python ----------------------------------------------


@cache
def _dialled(stock: type) -> type:
    """The class of an object with dials in it: the stock one, or one that does the same by dials."""
    layers, regularizers = keras().layers, keras().regularizers
    if issubclass(stock, layers.Dropout):
        return _dropout(stock)
    if stock is layers.GaussianDropout:
        return _gaussian_dropout(stock)
    if stock in (regularizers.L1, regularizers.L2, regularizers.L1L2):
        return _copied_with_dials(stock)
    return stock


def _copied_with_dials(stock: type) -> type:
    """A regulariser whose copy by config (`Bidirectional` makes two of the layer it is given) reads the same dials."""

    def get_config(self: Any) -> dict[str, Any]:
        numbers = {name: getattr(self, name) for name in table.REGULARIZERS[stock.__name__]}
        return {
            name: {"dial": value.key} if isinstance(value, Dial) else float(value) for name, value in numbers.items()
        }

    def from_config(_: type, config: Mapping[str, Any]) -> Any:
        arguments = {n: Dial.known(v["dial"]) if isinstance(v, Mapping) else v for n, v in config.items()}
        return placed(stock, arguments)

    body = {"get_config": get_config, "from_config": classmethod(from_config), "__module__": __name__}
    kind = type(stock.__name__, (stock,), body)
    register: type = keras().saving.register_keras_serializable("hptune", f"Dialled{stock.__name__}")(kind)
    return register


def _dropout(stock: type) -> type:
    """`keras.random.dropout` branches on the rate; this draws the very same mask with a rate that is a dial.

    What is kept is multiplied by 1/(1 - rate), which is computed in float64, as Python does it there.
    """

    def call(self: Any, inputs: Any, training: bool = False) -> Any:
        import tensorflow as tf
        from keras.src.backend.tensorflow.random import _cast_seed
        from keras.src.random.seed_generator import draw_seed

        if not training:
            return inputs
        real = tf.shape(inputs)
        shape = getattr(self, "_get_noise_shape", lambda _: self.noise_shape)(inputs)
        shape = real if shape is None else [real[i] if size is None else size for i, size in enumerate(shape)]
        seed = _cast_seed(draw_seed(self.seed_generator))
        kept = tf.random.stateless_uniform(shape, seed, dtype=inputs.dtype) >= self.rate.as_type(inputs.dtype)
        scale = 1 / (1 - self.rate)
        return tf.where(kept, inputs * scale.as_type(inputs.dtype), tf.zeros([], inputs.dtype))

    return type(stock.__name__, (stock,), {"call": call})


def _gaussian_dropout(stock: type) -> type:
    def call(self: Any, inputs: Any, training: bool = False) -> Any:
        import tensorflow as tf

        if not training:
            return inputs
        deviation = Number(lambda: tf.sqrt((self.rate / (1.0 - self.rate)).value()))
        noise = keras().random.normal(
            tf.shape(inputs), mean=1.0, stddev=deviation, dtype=self.compute_dtype, seed=self.seed_generator
        )
        return inputs * noise

    return type(stock.__name__, (stock,), {"call": call})
