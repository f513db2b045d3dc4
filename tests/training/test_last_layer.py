"""The last layer against the target and the loss: what can't work is told before the first trial, with the way out."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from hptune.base.errors import SpecError
from hptune.experiment import keras_table
from hptune.experiment.data import NpzData
from hptune.training.data import Data, load_data
from hptune.training.models.bounds import RANGES, UNBOUNDED, bounds_of
from hptune.training.trainers.last_layer import check_last_layer, range_note

PATH = ("model", "layers", 3)
N = 60
TARGETS: dict[str, Any] = {
    "three": np.arange(N) % 3,
    "two": np.arange(N) % 2,
    "one-hot": np.eye(3)[np.arange(N) % 3],
    "labels": np.stack([np.arange(N) % 2, np.arange(N) % 3 == 0], axis=1).astype(int),
    "number": np.linspace(-4, 9, N),
    "numbers": np.linspace(-4, 9, 2 * N).reshape(N, 2),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Data]:
    folder = tmp_path_factory.mktemp("npz")
    found = {}
    for name, y in TARGETS.items():
        np.savez(folder / "t.npz", x=np.random.RandomState(0).normal(size=(N, 4)), y=y)
        found[name] = load_data(NpzData(npz="t.npz"), folder=Path(folder), seed=0)
    return found


def model(*layers: Any) -> Any:
    return keras.Sequential([keras.Input((4,)), *layers])


def dense(units: int, activation: Any = None) -> Any:
    return model(keras.layers.Dense(units, activation=activation))


def loss(name: str, **options: Any) -> Any:
    return keras.losses.get({"class_name": name, "config": options} if options else name)


SPARSE = "SparseCategoricalCrossentropy"
FITS = [
    ("three", lambda: dense(3, "softmax"), loss(SPARSE)),
    ("three", lambda: dense(3), loss(SPARSE, from_logits=True)),
    ("three", lambda: model(keras.layers.Dense(3), keras.layers.Softmax()), loss(SPARSE)),
    ("three", lambda: model(keras.layers.Dense(3), keras.layers.Activation("softmax")), loss(SPARSE)),
    ("three", lambda: dense(3, lambda x: x), loss(SPARSE)),  # the user's own
    ("two", lambda: dense(1, "sigmoid"), loss("BinaryCrossentropy")),
    ("two", lambda: dense(2, "softmax"), loss(SPARSE)),
    ("one-hot", lambda: dense(3, "softmax"), loss("CategoricalCrossentropy")),
    ("labels", lambda: dense(2, "sigmoid"), loss("BinaryCrossentropy")),
    ("number", lambda: dense(1), loss("MeanSquaredError")),
    ("numbers", lambda: dense(2), loss("MeanSquaredError")),
]


@pytest.mark.parametrize(("target", "make", "with_loss"), FITS)
def test_what_fits_is_let_through(data: dict[str, Data], target: str, make: Any, with_loss: Any) -> None:
    check_last_layer(make(), with_loss, data=data[target], path=PATH)


WRONG = [
    ("three", lambda: dense(4, "softmax"), SPARSE, "gives 4 values a sample, but the target has 3 classes. End with"),
    ("two", lambda: dense(1, "sigmoid"), SPARSE, "say training.loss: binary_crossentropy, or end with"),
    ("two", lambda: dense(4, "sigmoid"), SPARSE, "Dense: {units: 2, activation: softmax} or {units: 1, activation"),
    ("three", lambda: model(keras.layers.Reshape((2, 2))), SPARSE, "Put Flatten or a pooling layer before"),
    (
        "labels",
        lambda: dense(3, "sigmoid"),
        "BinaryCrossentropy",
        "2 labels. End with Dense: {units: 2, act",
    ),
    ("numbers", lambda: dense(1), "MeanSquaredError", "the target has 2 values a sample. End with Dense: {units: 2}"),
    ("three", lambda: dense(3), SPARSE, "has no activation. Say activation: softmax, or loss: {SparseCategorical"),
    ("three", lambda: dense(3, "relu"), SPARSE, "wants probabilities, and the last layer has activation relu"),
    ("three", lambda: dense(3, "sigmoid"), SPARSE, "wants probabilities that add up to 1"),
    ("two", lambda: dense(1), "BinaryCrossentropy", "Say activation: sigmoid, or loss: {BinaryCrossentropy:"),
    (
        "two",
        lambda: dense(1, "softmax"),
        "BinaryCrossentropy",
        "a softmax over one value is always 1. Say activation",
    ),
    ("labels", lambda: dense(2, "softmax"), "BinaryCrossentropy", "softmax makes the labels exclude each other"),
    (
        "number",
        lambda: dense(1, "relu"),
        "MeanSquaredError",
        "relu gives values from 0 to inf, and the target is",
    ),
    ("number", lambda: dense(1, "softmax"), "MeanSquaredError", "always 1. Drop the activation."),
]


@pytest.mark.parametrize(("target", "make", "name", "words"), WRONG)
def test_what_does_not_fit_is_told(data: dict[str, Data], target: str, make: Any, name: str, words: str) -> None:
    with pytest.raises(SpecError) as error:
        check_last_layer(make(), loss(name), data=data[target], path=PATH)
    (problem,) = error.value.problems
    assert words in problem.message
    assert problem.path == PATH


def test_probabilities_under_from_logits_are_told(data: dict[str, Data]) -> None:
    with pytest.raises(SpecError, match=r"the loss applies its own softmax \(from_logits: true\)"):
        check_last_layer(dense(3, "softmax"), loss(SPARSE, from_logits=True), data=data["three"], path=PATH)


def test_a_bounded_activation_may_hold_numbers_that_are_not_standardised(data: dict[str, Data]) -> None:
    plain = replace(data["number"], target_scale=None)
    with pytest.raises(SpecError, match="and the target has -4 to 8"):
        check_last_layer(dense(1, "relu"), loss("MeanSquaredError"), data=plain, path=PATH)
    shares = replace(plain, train=replace(plain.train, y=np.abs(plain.train.y) / 10))
    check_last_layer(dense(1, "sigmoid"), loss("MeanSquaredError"), data=shares, path=PATH)


SPREAD = np.concatenate([-np.geomspace(1e-3, 1e4, 400)[::-1], np.geomspace(1e-3, 1e4, 400)]).astype("float32")[:, None]


@pytest.mark.parametrize("name", keras_table.names("activations"))
def test_what_an_activation_can_give_is_known(name: str) -> None:
    """Beside what it gives: of one number, or of many beside each other."""
    activation = keras.activations.get(name)
    if not callable(activation) or name in ("glu", "threshold"):  # halves what it is given; wants arguments
        return
    found = np.concatenate([np.ravel(activation(SPREAD)), np.ravel(activation(SPREAD.T))])
    found = found[np.isfinite(found)]
    low, high = RANGES.get(activation.__name__, (-np.inf, np.inf))
    assert low <= found.min() <= found.max() <= high + 1e-6
    assert low > -np.inf or found.min() < -1e3, f"{name} gives nothing below {found.min()}"
    assert high < np.inf or found.max() > 1e3, f"{name} gives nothing above {found.max()}"


L = keras.layers
BEHIND: list[Callable[[], list[Any]]] = [
    lambda: [L.Dense(1, "softplus")],
    lambda: [L.Dense(1), L.ReLU()],
    lambda: [L.Dense(1), L.Activation("softplus"), L.Reshape((1,))],
    lambda: [L.Dense(1, "relu"), L.Dropout(0.1), L.Flatten(), L.Identity()],
    lambda: [L.Reshape((4, 1)), L.Dense(1, "exponential"), L.GlobalAveragePooling1D()],
    lambda: [keras.Sequential([keras.Input((4,)), L.Dense(1, "sigmoid")])],
    lambda: [L.Dense(1, "sigmoid"), L.Rescaling(15.0)],
    lambda: [L.Dense(1), L.LeakyReLU(negative_slope=0.0)],
    lambda: [L.Reshape((4, 1)), L.TimeDistributed(L.Dense(1, "relu")), L.Cropping1D(1), L.GlobalMaxPooling1D()],
    lambda: [L.Dense(1, "exponential"), L.GaussianNoise(0.1), L.Masking()],
    lambda: [L.Reshape((4, 1)), L.TimeDistributed(L.ReLU()), L.GlobalAveragePooling1D(), L.Activation("linear")],
    lambda: [L.Reshape((4, 1)), L.Bidirectional(L.LSTM(1, "relu"), merge_mode="sum")],
    lambda: [L.Dense(2, "relu"), L.Dense(1, kernel_constraint="non_neg", bias_constraint="non_neg")],
]


@pytest.mark.parametrize("layers", BEHIND)
@pytest.mark.parametrize("of", ["mse", "own"])
def test_what_can_not_give_a_standardised_number_is_told(data: dict[str, Data], layers: Any, of: str) -> None:
    made = model(*layers())
    with pytest.raises(SpecError, match=r"gives values from 0 to .* standardised .* data\.scale: none"):
        check_last_layer(made, loss("mse") if of == "mse" else (lambda y, p: y - p), data=data["number"], path=PATH)
    plain = replace(data["number"], target_scale=None, train=replace(data["number"].train, y=np.linspace(0, 1, N)))
    check_last_layer(made, loss("mse"), data=plain, path=PATH)


def test_a_relu_that_lets_through_is_no_bound(data: dict[str, Data]) -> None:
    check_last_layer(model(L.Dense(1), L.ReLU(negative_slope=0.1)), loss("mse"), data=data["number"], path=PATH)


def test_each_of_several_outputs_is_looked_at(data: dict[str, Data]) -> None:
    put = keras.Input((4,))
    made = keras.Model(put, {"a": L.Dense(1)(put), "b": L.Dense(1, "softplus")(put)})
    with pytest.raises(SpecError, match="b's softplus gives values from 0 to inf"):
        check_last_layer(
            made, {"a": loss("mse"), "b": loss("mse")}, data=data["numbers"], path=PATH, columns={"a": 0, "b": 1}
        )


def test_what_several_give_together_is_bounded_by_what_each_can_give() -> None:
    put = keras.Input((2,))
    half, one, free = L.Dense(2, "sigmoid")(put), L.Dense(2, "tanh")(put), L.Dense(2)(put)
    put_together = {
        (0.0, 2.0): L.Add()([half, half]),
        (-1.0, 2.0): L.Add()([half, one]),
        (-1.0, 1.0): L.Multiply()([half, one]),
        (-2.0, 1.0): L.Rescaling(-1.0)(L.Subtract()([half, one])),
        (-1.0, 1.5): L.Concatenate()([one, L.Rescaling(1.0, offset=0.5)(half)]),
        (0.0, 1.0): L.Maximum()([half, half]),
        (0.0, np.inf): L.Dot(1)([half, half]),
    }
    assert {wanted: bounds_of(made) for wanted, made in put_together.items()} == {one: one for one in put_together}
    unbounded = [
        *(
            L.Add()([half, free]),
            L.Dense(2)(half),
            L.Multiply()([L.Dense(2)(put), free]),
            L.Concatenate()([free, L.Dense(2)(put)]),
        ),
        *(L.BatchNormalization()(half), L.LeakyReLU()(free), L.Dot(1)([free, L.Dense(2)(put)]), L.PReLU()(free)),
        *(L.Maximum()([free, L.Dense(2)(put)]), L.Dense(1, use_bias=False)(half), L.Dense(1, "leaky_relu")(half)),
    ]
    assert [bounds_of(made) for made in unbounded] == [UNBOUNDED] * len(unbounded)
    assert bounds_of(L.Maximum()([half, free])) == (0.0, np.inf)
    assert bounds_of(L.Minimum()([half, free])) == (-np.inf, 1.0)


class Own(keras.layers.Layer):  # type: ignore[misc]
    def call(self, x: Any) -> Any:
        return x


class Sums(keras.Model):  # type: ignore[misc]
    def call(self, x: Any) -> Any:
        return super().call(x) * 30.0


UNKNOWN: list[Callable[[Any], Any]] = [
    lambda free: L.Multiply()([free, free]),
    lambda free: L.Subtract()([free, L.Activation("relu")(free)]),
    lambda free: L.UnitNormalization()(free),
    lambda free: L.Maximum()([free, L.Rescaling(-1.0)(free)]),
    lambda free: L.Average()([free, L.Rescaling(-1.0)(free)]),
    lambda free: L.Concatenate()([free, L.Activation("relu")(free)]),
    lambda free: L.LayerNormalization()(free),
    lambda free: L.Lambda(lambda x: x)(free),
    lambda free: Own()(free),
    lambda free: Own()(L.Activation("sigmoid")(free)),
    lambda free: L.Activation(lambda x: x)(free),
    lambda free: L.Reshape((2,))(Own()(free)),
    lambda free: L.LSTM(2, recurrent_activation="relu")(L.Reshape((2, 1))(free)),
    lambda free: L.LSTM(2, return_state=True)(L.Reshape((2, 1))(free))[2],
    lambda free: L.RNN(L.LSTMCell(2))(L.Reshape((2, 1))(free)),
    lambda free: L.Dense(2, trainable=False)(free),
    lambda free: L.Dense(2, kernel_constraint="unit_norm", use_bias=False)(free),
    lambda free: free**2,
]


@pytest.mark.parametrize("make", UNKNOWN)
def test_what_is_not_known_is_said_and_not_refused(data: dict[str, Data], make: Any) -> None:
    put = keras.Input((4,))
    made = keras.Model(put, make(L.Dense(2)(put)))
    assert bounds_of(made.outputs[0]) is None
    told = range_note(made, data["number"])
    assert told is not None
    assert "standardised while training" in told
    assert "data.scale: none" in told
    assert range_note(made, replace(data["number"], target_scale=None)) is None
    assert range_note(dense(1), data["number"]) is None


def test_a_call_of_ones_own_is_no_part_of_the_graph(data: dict[str, Data]) -> None:
    put = keras.Input((4,))
    made = Sums(put, L.Dense(1, "sigmoid")(put))
    check_last_layer(made, loss("mse"), data=data["number"], path=PATH)
    assert range_note(made, data["number"]) is not None


def test_spectral_normalization_gives_what_its_layer_does(data: dict[str, Data]) -> None:
    with pytest.raises(SpecError, match="gives values from 0 to inf"):
        check_last_layer(
            model(L.SpectralNormalization(L.Dense(1, "softplus"))), loss("mse"), data=data["number"], path=PATH
        )


def test_keras_leaves_out_a_last_axis_of_one(data: dict[str, Data]) -> None:
    steps = replace(data["numbers"], train=replace(data["numbers"].train, y=TARGETS["numbers"]))
    made = model(L.Reshape((2, 2)), L.LSTM(3, return_sequences=True), L.Dense(1))
    check_last_layer(made, loss("mse"), data=steps, path=PATH)


@pytest.mark.parametrize("join", [lambda x: L.Add()([x, L.Dense(4)(x)]), lambda x: L.Concatenate()([x, L.Dense(1)(x)])])
def test_a_deep_network_is_looked_through_no_further_than_it_matters(join: Any) -> None:
    """200 blocks that each join two ways: one by one they would be 2^200 paths, and deeper than Python goes."""
    tensor = keras.Input((4,))
    for _ in range(200):
        tensor = join(tensor)
    assert bounds_of(L.Dense(1)(tensor)) == UNBOUNDED
    assert bounds_of(L.Activation("sigmoid")(tensor)) == (0.0, 1.0)


def test_of_what_operations_give_nothing_is_known(data: dict[str, Data]) -> None:
    put = keras.Input((4,))
    half = L.Dense(1, "sigmoid")(put)
    for made in (half * 200.0, half - 0.5, 100.0 + half, keras.ops.maximum(half, -3.0), half * L.Dense(1)(put)):
        assert bounds_of(made) is None
        check_last_layer(keras.Model(put, made), loss("mse"), data=data["number"], path=PATH)
