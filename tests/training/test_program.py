"""The training core against plain Keras, against itself over a resume, and its traces counted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hptune.base import seeds
from hptune.experiment import schedules
from hptune.experiment.graph import Graph, LayerCall
from hptune.experiment.recipe import Recipe
from hptune.experiment.training import Initialization, Schedule, Training
from hptune.training import runtime
from hptune.training.core import state as states
from hptune.training.core.batches import sample_order
from hptune.training.core.program import Program, ProgramSetting
from hptune.training.core.state import State
from hptune.training.data import Part
from hptune.training.models.from_layers import of_layers
from hptune.training.trainers.stabilize import stabilize

EPOCHS = 6


def part(rows: int, shape: tuple[int, ...], classes: int = 4, seed: int = 0) -> Part:
    """Samples whose class shows in their mean, with noise."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, classes, rows).astype(np.int32)
    x = generator.normal(size=(rows, *shape)) + y.reshape(-1, *[1] * len(shape)) / 2
    return Part(x.astype(np.float32), y)


DENSE: list[tuple[str, dict[str, Any]]] = [
    ("Flatten", {}),
    ("Dense", {"units": 16, "activation": "relu"}),
    ("Dense", {"units": 4, "activation": "softmax"}),
]
CNN: list[tuple[str, dict[str, Any]]] = [
    ("Conv2D", {"filters": 4, "kernel_size": 3, "kernel_initializer": "he_normal"}),
    ("BatchNormalization", {}),
    ("Activation", {"activation": "relu"}),
    ("GlobalAveragePooling2D", {}),
    ("Dense", {"units": 4, "activation": "softmax"}),
]
RECURRENT: list[tuple[str, dict[str, Any]]] = [
    ("Reshape", {"target_shape": [8, 8]}),
    ("LSTM", {"units": 5}),
    ("Dense", {"units": 4, "activation": "softmax"}),
]
NOISY: list[tuple[str, dict[str, Any]]] = [
    ("GaussianNoise", {"stddev": 0.1}),
    ("SpatialDropout2D", {"rate": 0.2}),
    ("Flatten", {}),
    ("Dense", {"units": 16, "activation": "relu", "kernel_regularizer": {"L2": {"l2": 0.01}}}),
    ("Dropout", {"rate": 0.3}),
    ("Dense", {"units": 8, "activation": "selu", "kernel_regularizer": {"L1L2": {"l1": 0.001, "l2": 0.01}}}),
    ("AlphaDropout", {"rate": 0.1}),
    ("Dense", {"units": 4, "activation": "softmax", "kernel_regularizer": {"L1": {"l1": 0.001}}}),
]


def recipe(
    layers: list[tuple[str, dict[str, Any]]],
    *,
    schedule: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    initialization: dict[str, Any] | None = None,
    **optimizer: Any,
) -> Recipe:
    return Recipe(
        graph=Graph(tuple(LayerCall(name, args) for name, args in layers)),
        training=Training.model_validate(
            {
                "optimizer": {"name": "adam", "learning_rate": 0.01, **optimizer},
                "loss": "sparse_categorical_crossentropy",
                "metrics": ["accuracy"],
                "batch_size": 16,
                "epochs": EPOCHS,
                **(training or {}),
            }
        ),
        initialization=Initialization.model_validate(initialization or {}),
        schedule=Schedule.model_validate(schedule or {}),
        augment=None,
    )


def prepared(one: Recipe, *, rows: int = 70, xla: bool = False) -> tuple[Any, Program, ProgramSetting, State]:
    """The blueprint, a program, its setting and its fresh state. 70 rows: four whole batches and a rest of 6."""
    runtime.start()
    train, validation = part(rows, (8, 8, 1)), part(24, (8, 8, 1), seed=1)
    blueprint = of_layers(one, (8, 8, 1), input_dtype="float32")
    program = Program(blueprint, train, validation, xla=xla)
    return blueprint, program, setting(one, blueprint, program), program.fresh(blueprint.weights(7), 11)


def setting(one: Recipe, blueprint: Any, program: Program, order: int = 5) -> ProgramSetting:
    steps = program.steps_per_epoch(blueprint.batch_size)
    rates = schedules.table(one.schedule, base_rate=blueprint.learning_rate, epochs=EPOCHS, steps_per_epoch=steps)
    return ProgramSetting(blueprint.dials, rates.astype(np.float32), blueprint.batch_size, order)


def plain_fit(
    one: Recipe, blueprint: Any, state: State, program: Program
) -> tuple[list[Any], list[float], list[float]]:
    """Stock Keras with the recipe's own numbers, on the same weights, noise and order of samples."""
    train, validation = part(program.rows, (8, 8, 1)), part(24, (8, 8, 1), seed=1)
    model = blueprint.stock()
    for variable, value in zip(model.variables, state.model, strict=True):
        variable.assign(value)
    optimizer = blueprint.compiled.optimizer()
    model.compile(optimizer, blueprint.compiled.loss(), metrics=blueprint.compiled.metrics())
    losses, accuracies = [], []
    rates = schedules.by_epoch(one.schedule, base_rate=blueprint.learning_rate, epochs=EPOCHS)
    for epoch in range(EPOCHS):
        optimizer.learning_rate = rates[epoch]
        order = sample_order(5, epoch, program.rows)
        told = model.fit(
            train.x[order],
            train.y[order],
            batch_size=16,
            shuffle=False,
            verbose=0,
            validation_data=(validation.x, validation.y),
        ).history
        losses.append(told["val_loss"][0])
        accuracies.append(told["val_accuracy"][0])
    return model.get_weights(), losses, accuracies


@pytest.mark.parametrize(
    ("layers", "optimizer"),
    [
        (DENSE, {"name": "adam"}),
        (CNN, {"name": "sgd", "momentum": 0.9}),
        (RECURRENT, {"name": "rmsprop", "rho": 0.8}),
        (NOISY, {"name": "adamw", "weight_decay": 0.01, "beta_1": 0.8, "global_clipnorm": 1.0}),
        (NOISY, {"name": "sgd", "momentum": 0.5, "nesterov": True, "clipnorm": 0.5}),
        (DENSE, {"name": "nadam", "beta_1": 0.85, "clipvalue": 0.2}),
    ],
    ids=["dense", "cnn with batch normalization", "lstm", "noise, dropout, penalties, adamw", "sgd clipped", "nadam"],
)
def test_trains_as_plain_fit_does(layers: list[Any], optimizer: dict[str, Any]) -> None:
    one = recipe(layers, **optimizer)
    blueprint, program, turned, state = prepared(one)
    curves = program.run(state, turned, from_epoch=0, to_epoch=EPOCHS)
    weights, losses, accuracies = plain_fit(one, blueprint, state, program)
    for ours, theirs in zip(program.weights(), weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(curves["val_accuracy"], accuracies, atol=1e-6)
    penalty = np.asarray(curves.get("penalty", [0.0] * EPOCHS))
    np.testing.assert_allclose(curves["val_loss"] + penalty, losses, rtol=1e-3, atol=1e-4)


def test_twenty_settings_of_one_structure_trace_once() -> None:
    _, program, _, _ = prepared(recipe(NOISY, name="sgd", momentum=0.5))
    kept = set()
    for n in range(20):
        layers = [(name, dict(args)) for name, args in NOISY]
        layers[1][1]["rate"] = n / 40
        layers[4][1]["rate"] = n / 30
        layers[3][1]["kernel_regularizer"] = {"L2": {"l2": n / 1000}}
        schedule = {"name": "cosine" if n % 2 else "constant", "warmup": {"epochs": 1 + n % 3}}
        one = recipe(layers, schedule=schedule, name="sgd", momentum=n / 20, learning_rate=0.001 * (n + 1))
        blueprint = of_layers(one, (8, 8, 1), input_dtype="float32")
        kept.add(blueprint.structure)
        program.run(
            program.fresh(blueprint.weights(7), n), setting(one, blueprint, program, n), from_epoch=0, to_epoch=1
        )
    assert len(kept) == 1
    assert program.traces == 1


def test_a_dial_is_turned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each dial alone changes what is trained, and turning it back brings the same bits."""
    one = recipe(NOISY, name="sgd", momentum=0.5, weight_decay=0.01, clipnorm=1.0)
    _, program, turned, state = prepared(one)
    before = program.run(state, turned, from_epoch=0, to_epoch=2)
    for name in turned.dials:
        more = replace(turned, dials={**turned.dials, name: turned.dials[name] / 2 + 0.01})
        assert program.run(state, more, from_epoch=0, to_epoch=2)["val_loss"] != before["val_loss"], name
    assert program.run(state, turned, from_epoch=0, to_epoch=2) == before


@pytest.mark.parametrize("layers", [DENSE, CNN, RECURRENT, NOISY], ids=["dense", "cnn", "lstm", "noisy"])
def test_saved_after_three_epochs_and_gone_on_is_equal_to_the_bit(layers: list[Any], tmp_path: Any) -> None:
    one = recipe(layers, schedule={"name": "cosine", "warmup": {"epochs": 2, "start": 0.001}})
    _, program, turned, state = prepared(one)
    whole = program.run(state, turned, from_epoch=0, to_epoch=EPOCHS)
    at_end = program.state()

    first = program.run(state, turned, from_epoch=0, to_epoch=3)
    states.save(tmp_path / "state.npz", program.state(), first)
    _, other, _, _ = prepared(one)  # another process would build it anew
    loaded, so_far = states.load(tmp_path / "state.npz")
    assert so_far == first
    second = other.run(loaded, turned, from_epoch=3, to_epoch=EPOCHS, so_far=so_far)

    assert {name: first[name] + second[name] for name in first} == whole
    again = other.state()
    assert len(again.optimizer) > 1
    assert int(again.optimizer[0]) == EPOCHS * program.steps_per_epoch(16)  # Keras lists the iteration count first
    for ours, theirs in zip(again.model + again.optimizer, at_end.model + at_end.optimizer, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_loss_is_of_the_data_alone() -> None:
    """`loss` and `val_loss` leave the penalties out, which stand in `penalty`."""
    plain = [(name, {k: v for k, v in args.items() if k != "kernel_regularizer"}) for name, args in DENSE]
    heavy = [plain[0], (plain[1][0], {**plain[1][1], "kernel_regularizer": {"L2": {"l2": 50.0}}}), plain[2]]
    _, program, turned, state = prepared(recipe(heavy, learning_rate=1e-12))
    curves = program.run(state, turned, from_epoch=0, to_epoch=1)
    _, bare, other, same = prepared(recipe(plain, learning_rate=1e-12))
    expected = bare.run(same, other, from_epoch=0, to_epoch=1)
    assert curves["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    assert curves["val_loss"] == pytest.approx(expected["val_loss"], rel=1e-4)
    kernel = state.model[0]
    assert curves["penalty"][0] == pytest.approx(50 * float(np.sum(kernel**2)), rel=1e-4)


def test_the_order_of_samples_is_a_function_of_seed_and_epoch() -> None:
    assert sorted(sample_order(1, 0, 50)) == list(range(50))
    assert sample_order(1, 3, 50).tolist() == sample_order(1, 3, 50).tolist()
    assert sample_order(1, 3, 50).tolist() != sample_order(1, 4, 50).tolist()
    assert sample_order(1, 3, 50).tolist() != sample_order(2, 3, 50).tolist()


def test_initial_weights_depend_on_the_architecture_and_not_on_the_dials() -> None:
    runtime.start()
    quiet = [(n, {**a, "rate": 0.0} if "rate" in a else a) for n, a in NOISY]
    ones = [of_layers(recipe(layers), (8, 8, 1), input_dtype="float32") for layers in (NOISY, quiet)]
    assert ones[0].architecture == ones[1].architecture
    for ours, theirs in zip(ones[0].weights(3), ones[1].weights(3), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    wider = of_layers(recipe([DENSE[0], ("Dense", {"units": 17}), DENSE[2]]), (8, 8, 1), input_dtype="float32")
    assert wider.architecture != of_layers(recipe(DENSE), (8, 8, 1), input_dtype="float32").architecture


def test_a_loss_that_is_not_finite_ends_the_training_at_once() -> None:
    from hptune.base.errors import SegmentFailed

    _, program, turned, state = prepared(recipe(DENSE, name="sgd"))
    exploding = replace(turned, rates=np.full_like(turned.rates, 1e30))
    seen: list[int] = []
    with pytest.raises(SegmentFailed, match="after epoch 1: training diverged"):
        program.run(state, exploding, from_epoch=0, to_epoch=EPOCHS, on_epoch=lambda epoch, _: seen.append(epoch))
    assert seen == []


def test_a_damaged_state_is_told(tmp_path: Any) -> None:
    path = tmp_path / "state.npz"
    states.save(path, State((np.zeros(3),)), {"loss": (1.0,)})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(states.Damaged, match=r"state\.npz can't be read"):
        states.load(path)
    with pytest.raises(states.Damaged, match=r"gone\.npz can't be read"):
        states.load(tmp_path / "gone.npz")


SMOOTHED = {"regularization": {"label_smoothing": 0.2, "kernel": {"l1": 0.001, "l2": 0.01}}}


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy"])
def test_smoothing_and_penalties_train_as_keras_own_do(loss: str) -> None:
    """The same weights as a plain Keras model with `label_smoothing`, an L1L2 on each kernel and `weight_decay`."""
    keras = runtime.keras()
    one_hot = loss != "sparse_categorical_crossentropy"
    binary = loss == "binary_crossentropy"
    layers = [*DENSE[:2], ("Dense", {"units": 1, "activation": "sigmoid"})] if binary else DENSE
    one = recipe(layers, training={**SMOOTHED, "loss": loss}, name="adam", weight_decay=0.01)
    blueprint = of_layers(one, (8, 8, 1), input_dtype="float32")
    train, validation = part(70, (8, 8, 1), 2 if binary else 4), part(24, (8, 8, 1), 2 if binary else 4, seed=1)
    if one_hot and not binary:
        train, validation = (Part(p.x, np.eye(4, dtype=np.float32)[p.y]) for p in (train, validation))
    program = Program(blueprint, train, validation)
    state = program.fresh(blueprint.weights(7), 11)
    curves = program.run(state, setting(one, blueprint, program), from_epoch=0, to_epoch=EPOCHS)

    model = blueprint.stock()
    assert type(model.layers[1].kernel_regularizer).__name__ == "L1L2"
    model.set_weights([a for a in state.model if a.dtype == np.float32])
    theirs = keras.losses.BinaryCrossentropy if binary else keras.losses.CategoricalCrossentropy
    model.compile(keras.optimizers.Adam(0.01, weight_decay=0.01), theirs(label_smoothing=0.2))
    y = train.y if one_hot else np.eye(4, dtype=np.float32)[train.y]
    for epoch in range(EPOCHS):
        order = sample_order(5, epoch, 70)
        model.fit(train.x[order], y[order], batch_size=16, shuffle=False, verbose=0)
    for a, b in zip(program.weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)
    # what is reported is the plain loss of the hard labels
    plain = keras.losses.get(loss)(validation.y.reshape(-1, 1) if binary else validation.y, model(validation.x))
    assert curves["val_loss"][-1] == pytest.approx(float(np.mean(plain)), rel=1e-3)


def test_strengths_and_schedules_are_dials() -> None:
    """Switching the schedule, warm-up, penalties, smoothing and rates costs no trace."""
    _, program, _, _ = prepared(recipe(NOISY, training=SMOOTHED))
    structures = set()
    extras: dict[str, Any] = {"exponential": {"factor": 0.9}, "piecewise": {"epochs": [2], "factors": [0.1]}}
    for n, name in enumerate(["constant", "cosine", "linear", "exponential", "one_cycle", "plateau", "piecewise"]):
        extra = extras.get(name, {})
        warmup = {"warmup": {"epochs": 1}} if n % 2 else {}
        training = {"regularization": {"label_smoothing": n / 10, "kernel": {"l1": n / 500, "l2": n / 100}}}
        one = recipe(NOISY, schedule={"name": name, **extra, **warmup}, training=training, learning_rate=0.01 / (n + 1))
        blueprint = of_layers(one, (8, 8, 1), input_dtype="float32")
        structures.add(blueprint.structure)
        program.run(
            program.fresh(blueprint.weights(7), n), setting(one, blueprint, program, n), from_epoch=0, to_epoch=2
        )
    assert len(structures) == 1
    assert program.traces == 1


@pytest.mark.parametrize(
    "xla", [pytest.param(False, id="any size"), pytest.param(True, id="xla", marks=pytest.mark.slow)]
)
def test_one_program_serves_every_batch_size(xla: bool) -> None:
    """Each as if the program were its own; XLA alone asks for a graph a size."""
    found = {}
    layers = DENSE if xla else CNN  # a graph of the second takes XLA seconds
    shared = prepared(recipe(layers), xla=xla)[1]
    for batch_size in (16, 7, 70, 16):
        one = recipe(layers, training={"batch_size": batch_size})
        _, own, turned, state = prepared(one, xla=xla)
        assert own.steps_per_epoch(batch_size) == -(-70 // batch_size) == len(turned.rates) // EPOCHS
        found[batch_size] = shared.run(state, turned, from_epoch=0, to_epoch=2)
        assert found[batch_size] == own.run(state, turned, from_epoch=0, to_epoch=2)
    assert found[16] != found[7] != found[70]
    assert shared.traces == (3 if xla else 1)


def test_a_factor_that_follows_the_curves_lowers_the_rate() -> None:
    _, program, turned, state = prepared(recipe(DENSE, name="sgd"))
    frozen = replace(turned, factor=lambda curves: 1.0 if len(curves.get("loss", ())) < 2 else 0.0)
    curves = program.run(state, frozen, from_epoch=0, to_epoch=EPOCHS)
    losses = curves["val_loss"]
    assert losses[0] != losses[1]
    assert losses[1:] == (losses[1],) * (EPOCHS - 1)
    assert program.run(state, turned, from_epoch=0, to_epoch=EPOCHS)["val_loss"][-1] != losses[-1], (
        "the next trial has its own factor"
    )


def test_the_kernel_initialiser_is_every_layers_that_has_not_its_own() -> None:
    layers = [DENSE[0], ("Dense", {"units": 6, "kernel_initializer": "ones"}), ("Dense", {"units": 4})]
    for kernel in ("he_normal", {"VarianceScaling": {"scale": 1.0}}):
        blueprint = of_layers(recipe(layers, initialization={"kernel": kernel}), (8, 8, 1), input_dtype="float32")
        names = [type(layer.kernel_initializer).__name__ for layer in blueprint.stock().layers[1:]]
        assert names == ["Ones", "HeNormal" if kernel == "he_normal" else "VarianceScaling"]


def test_stabilised_weights_depend_on_the_architecture_alone() -> None:
    how = Initialization.model_validate(
        {"stabilize": {"method": "lottery", "draws": 4, "epochs": 2, "steps_per_epoch": 3}}
    ).stabilize
    assert how is not None
    found = []
    for rate, decay in ((0.1, 0.0), (0.4, 0.1)):
        layers = [*DENSE[:2], ("Dropout", {"rate": rate}), DENSE[2]]
        blueprint, program, _, _ = prepared(recipe(layers, training=SMOOTHED, weight_decay=decay, clipnorm=1.0))
        found.append(stabilize(how, program, blueprint, seed=3))
        assert program.brief_traces == 1
    assert found[0].losses == found[1].losses
    assert len(set(found[0].losses)) == 4
    assert found[0].chosen == found[0].losses.index(min(found[0].losses))
    for a, b in zip(found[0].weights, found[1].weights, strict=True):
        np.testing.assert_array_equal(a, b)
    other = stabilize(how, program, blueprint, seed=4)
    assert other.losses != found[0].losses


def test_warmed_up_weights_have_been_trained() -> None:
    how = Initialization.model_validate(
        {"stabilize": {"method": "warmup", "epochs": 3, "start": 1e-4, "end": 1e-2}}
    ).stabilize
    assert how is not None
    blueprint, program, _, _ = prepared(recipe(DENSE))
    found = stabilize(how, program, blueprint, seed=3)
    assert (len(found.losses), found.chosen) == (1, 0)
    fresh = program.run_steps(
        program.fresh(blueprint.weights(9), 0),
        ProgramSetting(blueprint.dials, np.zeros(30, np.float32), 16, 1),
        epochs=1,
        steps_per_epoch=None,
    )
    assert found.losses[0] < np.mean(fresh)


def test_warmed_up_weights_are_those_of_fit_under_the_rising_rate() -> None:
    """70 rows in batches of 16 are five steps, the last one of 6 samples: all are trained, the rate rises over all."""
    keras = runtime.keras()
    how = Initialization.model_validate(
        {"stabilize": {"method": "warmup", "epochs": 3, "start": 1e-3, "end": 0.1}}
    ).stabilize
    assert how is not None
    one = recipe(DENSE, name="sgd")
    blueprint, program, _, _ = prepared(one)
    found = stabilize(how, program, blueprint, seed=3)

    model, train = blueprint.stock(), part(70, (8, 8, 1))
    model.set_weights(blueprint.weights(seeds.derive(3, "draw", 0)))
    optimizer = keras.optimizers.SGD(0.1)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy())
    last = 0.0
    for epoch in range(3):
        order = sample_order(seeds.derive(3, "order", 0), epoch, 70)

        class Rate(keras.callbacks.Callback):  # type: ignore[misc, name-defined]  # Keras has no types
            def on_train_batch_begin(self, batch: int, logs: Any = None, epoch: int = epoch) -> None:
                step = epoch * 5 + batch
                optimizer.learning_rate = 1e-3 + (0.1 - 1e-3) * step / 15

        told = model.fit(
            train.x[order], train.y[order], batch_size=16, shuffle=False, verbose=0, callbacks=[Rate()]
        ).history
        last = told["loss"][0]
    assert found.losses[0] == pytest.approx(last, rel=1e-5)
    for ours, theirs in zip(found.weights, model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_half_precision_trains() -> None:
    keras = runtime.keras()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        one = recipe(DENSE)
        blueprint = of_layers(one, (8, 8, 1), input_dtype="float32", precision="mixed_bfloat16")
        program = Program(blueprint, part(70, (8, 8, 1)), part(24, (8, 8, 1), seed=1))
        assert program.model.layers[1].compute_dtype == "bfloat16"
        assert program.model.layers[-1].compute_dtype == "float32"
        curves = program.run(
            program.fresh(blueprint.weights(7), 11), setting(one, blueprint, program), from_epoch=0, to_epoch=EPOCHS
        )
        assert curves["loss"][-1] < curves["loss"][0]
    finally:
        keras.config.set_dtype_policy("float32")
