"""A HyperModel's own `fit`: its score is the exported model's, and what the YAML says reaches it or is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from hptune.base import seeds
from hptune.base.errors import SegmentFailed, SpecError
from hptune.base.trial import Segment, SegmentResult
from hptune.experiment.objective import Objective
from hptune.experiment.reading.load import load
from hptune.run.record import Head, filled, head_event, joined_space
from hptune.run.resume import check_same_spec
from hptune.run.rundir import RunPaths
from hptune.training.runtime import keras
from hptune.training.trainers.by_fit.returned import Tally, earned
from hptune.training.worker import Worker

CODE = """
import keras, keras_tuner, numpy as np, tensorflow as tf
def arrays():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(160, 4)).astype("float32")
    y = (x @ np.float32([1, -2, 1, 0.5]) + 3).astype("float32")
    return (x[:96], y[:96]), (x[96:128], y[96:128]), (x[128:], y[128:])
def weighted():
    return tuple((x, y, (1 + np.abs(y)).astype("float32")) for x, y in arrays())
def classes():
    return tuple((x, (y > 5).astype("int32")) for x, y in arrays())
def dense(compiled=True, units=1, **options):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units, **options)])
    if compiled:
        model.compile(keras.optimizers.SGD(0.05), "mse", metrics=["mae"], run_eagerly=True)  # faster for so few steps
    return model
class Base(keras_tuner.HyperModel):
    def build(self, hp):
        hp.Int("n", 1, 2)
        return dense()
def mae(model, data):
    return float(np.mean(np.abs(model.predict(data[0], verbose=0)[:, 0] - data[1])))
"""

HEAD = "version: 1\nname: t\ndata: {python: 'own_code:arrays', scale: none}\nmodel: {python: 'own_code:Own'}\n"

MAE = "training: {epochs: 4}\nobjective: {metric: my_mae, goal: minimize}\n"


@pytest.fixture(autouse=True)
def _fresh_modules() -> Any:
    yield
    sys.modules.pop("own_code", None)


def worker(folder: Path, fit: str, text: str = MAE, head: str = HEAD) -> Worker:
    (folder / "own_code.py").write_text(CODE + "class Own(Base):\n" + indented(fit))
    (folder / "spec.yaml").write_text(head + text)
    loaded = load(folder / "spec.yaml")
    return Worker(loaded.experiment, loaded.folder, RunPaths(folder / "runs" / "t"))


def indented(code: str) -> str:
    return "".join(f"    {line}\n" for line in dedent(code).strip().splitlines())


def probe(one: Worker) -> dict[str, Any]:
    return dict(one.run(Segment(0, {}, purpose="probe")).facts)


def trial(one: Worker, epochs: int = 4, values: Any = None, **more: Any) -> SegmentResult:
    return one.run(Segment(**{"trial": 0, "values": values or {"n": 1}, "to_epoch": epochs, **more}))


def refused(folder: Path, fit: str, text: str = MAE, head: str = HEAD) -> str:
    with pytest.raises(SpecError) as error:
        probe(worker(folder, fit, text, head))
    return str(error.value)


def exported_mae(told: SegmentResult) -> float:
    """The written model's error on the validation part."""
    _, (x, y), _ = sys.modules["own_code"].arrays()
    model = keras().models.load_model(told.facts["model"])
    return float(np.mean(np.abs(model.predict(x, verbose=0)[:, 0] - y)))


STOPPING = "keras.callbacks.EarlyStopping('val_loss', patience=9, restore_best_weights=True)"

# The learning rate rises, so that the best epoch is not the last.
LOOPS = {
    "callbacks of its own": (
        f"return model.fit(x, y, epochs=6, validation_data=validation_data, callbacks=[{STOPPING}])"
    ),
    "no callbacks": "return model.fit(x, y, epochs=6, validation_data=validation_data)",
    "an epoch at a time": (
        "told = [model.fit(x, y, validation_data=validation_data, initial_epoch=e, epochs=e + 1, **rest)"
        ".history['val_loss'][0] for e in range(6)]\nreturn min(told)"
    ),
    "a model around it": (
        "outer = Outer(model)\nouter.compile(keras.optimizers.SGD(rate), 'mse')\n"
        "return outer.fit(x, y, epochs=6, validation_data=validation_data, **rest)"
    ),
    "another model": (
        "other = keras.models.clone_model(model)\nother.compile(keras.optimizers.SGD(rate), 'mse')\n"
        "told = other.fit(x, y, epochs=6, validation_data=validation_data, **rest)\n"
        "model.set_weights(other.get_weights())\nreturn told"
    ),
}


@pytest.mark.parametrize("loop", LOOPS)
def test_the_weights_given_out_are_those_that_earned_the_score(tmp_path: Path, loop: str) -> None:
    head = "def fit(self, hp, model, x, y, validation_data, callbacks, **more):\n"
    rising = "rate = keras.optimizers.schedules.PiecewiseConstantDecay([9], [0.3, 1.2])\n"
    rest = "rest = {'callbacks': callbacks, 'verbose': 0}\nmodel.optimizer.learning_rate = rate\n"
    body = rising + rest + LOOPS[loop]
    outer = "class Outer(keras.Model):\n    def __init__(self, inner):\n        super().__init__()\n"
    outer += "        self.inner = inner\n"
    fit = head + "".join(f"    {line}\n" for line in body.splitlines())
    one = worker(tmp_path, fit, "objective: {metric: val_loss, goal: minimize}\n")
    (tmp_path / "own_code.py").write_text(
        CODE + outer + "    def call(self, x):\n        return self.inner(x)\nclass Own(Base):\n" + indented(fit)
    )
    searched, best = trial(one, epochs=6), trial(one, epochs=6, purpose="best")
    assert best.curves["val_loss"] == searched.curves["val_loss"]
    _, (x, y), _ = sys.modules["own_code"].arrays()
    model = keras().models.load_model(best.facts["model"])
    error = float(np.mean((model.predict(x, verbose=0)[:, 0] - y) ** 2))
    assert error == pytest.approx(min(best.curves["val_loss"]), rel=1e-5)
    told = searched.facts.get("note", "")
    assert ("is of weights that were not kept" in told) == (loop == "another model")
    assert loop == "another model" or best.curves["val_loss"][-1] > 2 * error or loop == "an epoch at a time"


# --- the score is the exported model's own ----------------------------------------------------------------------------

HEAD_OF_FIT = "def fit(self, hp, model, x, y, validation_data, **kwargs):\n"

RETURNS = {
    "a dict": 'model.fit(x, y, **kwargs)\nreturn {"my_mae": mae(model, validation_data)}',
    "numpy's number": "model.fit(x, y, **kwargs)\nreturn np.float32(mae(model, validation_data))",
    "a History with more in it": (
        "history = model.fit(x, y, **kwargs)\n"
        'history.history["my_mae"] = [0.001, 0.5, 0.6, mae(model, validation_data)]\nreturn history'
    ),
    "the last of two trainings": (
        'model.fit(x, y, **{**kwargs, "epochs": 6})\nmodel.set_weights([w * 0 for w in model.get_weights()])\n'
        'model.fit(x, y, **{**kwargs, "epochs": 1})\nreturn {"my_mae": mae(model, validation_data)}'
    ),
    "the best epoch of a loop": (
        "for epoch in range(4):\n"
        "    if epoch == 3:\n"
        "        model.set_weights([w * 0 for w in model.get_weights()])\n"
        "    else:\n"
        "        model.train_on_batch(x, y)\n"
        "    found = mae(model, validation_data)\n"
        "    best = found if epoch == 0 else min(best, found)\n"
        '    for callback in kwargs["callbacks"]:\n'
        '        callback.on_epoch_end(epoch, logs={"my_mae": found})\n'
        "return best"
    ),
}


@pytest.mark.parametrize(
    "returns", [pytest.param(one, marks=pytest.mark.slow if number > 1 else []) for number, one in enumerate(RETURNS)]
)
def test_the_score_is_that_of_the_exported_model(tmp_path: Path, returns: str) -> None:
    fit = HEAD_OF_FIT + "".join(f"    {line}\n" for line in RETURNS[returns].splitlines())
    one = worker(tmp_path, fit)
    searched, best = trial(one), trial(one, purpose="best")
    assert best.curves["my_mae"] == searched.curves["my_mae"]
    score = min(best.curves["my_mae"])
    assert exported_mae(best) == pytest.approx(score, rel=1e-5)
    assert score > 0.01
    assert searched.epochs == (1 if returns == "the last of two trainings" else 4)


def test_what_is_returned_counts_as_in_keras_tuner() -> None:
    from keras_tuner.src.engine import objective as objectives
    from keras_tuner.src.engine.tuner_utils import convert_to_metrics_dict

    history = keras().callbacks.History()
    history.history = {"loss": [3.0, 1.0, 2.0], "val_loss": [5.0, 3.0, 4.0]}
    other = keras().callbacks.History()
    other.history = {"loss": [4.0, 0.5], "val_loss": [6.0, 7.0]}
    ours = Objective(metric="val_loss", goal="minimize")
    numbers = [1, 2.5, np.float32(0.25), np.float64(3)]
    dicts = [{"val_loss": 1.0}, {"val_loss": np.float32(2), "mae": 3}]
    for returned in [
        *numbers,
        *dicts,
        history,
        other,
        numbers,
        dicts,
        [history, other],
        [history],
        [[history], [other]],
    ]:
        theirs = convert_to_metrics_dict(returned, objectives.Objective("val_loss", "min"))
        found = earned(returned, Tally(ours), ours, epochs=3)
        kept = found.curves["val_loss"]
        if returned is not history and returned is not other:  # no weights of their best epochs were kept
            assert set(kept) == {theirs["val_loss"]}
            assert {name: curve[0] for name, curve in found.curves.items()} == pytest.approx(theirs)
        else:
            assert set(kept) == {returned.history["val_loss"][-1]}
            tally = Tally(ours)
            for epoch, (loss, value) in enumerate(zip(*returned.history.values(), strict=True), start=1):
                logs = {"loss": loss, "val_loss": value}
                tally.take(epoch, logs, best=tally.better(epoch, logs), state=None)
            found = earned(returned, tally, ours, epochs=3)
            assert found.curves["val_loss"] == tuple(returned.history["val_loss"])
            assert min(found.curves["val_loss"]) == theirs["val_loss"]
            assert found.curves["loss"][found.epoch - 1] == theirs["loss"]


def test_what_is_measured_every_few_epochs_stands_until_the_next_time() -> None:
    ours = Objective(metric="val_loss", goal="minimize")
    returned = {"loss": [4.0, 3.0, 2.0, 1.0], "val_loss": [8.0, 7.0]}  # validation_freq=2
    found = earned(returned, Tally(ours), Objective(metric="loss", goal="minimize"), epochs=4)
    assert found.curves["val_loss"] == (8.0, 8.0, 8.0, 7.0)


def test_a_history_gives_the_weights_of_its_best_epoch(tmp_path: Path) -> None:
    fit = """
    def fit(self, hp, model, *args, **kwargs):
        rise = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.05 if epoch < 2 else 1.5)
        kwargs["callbacks"].append(rise)
        return model.fit(*args, **kwargs)
    """
    text = "training: {epochs: 4}\nobjective: {metric: val_mae, goal: minimize}\n"
    best = trial(worker(tmp_path, fit, text), purpose="best")
    score = min(best.curves["val_mae"])
    assert best.facts["best_epoch"] == 2
    assert exported_mae(best) == pytest.approx(score, rel=1e-5)
    assert score < 0.5 * best.curves["val_mae"][-1]
    assert set(best.facts["test"]) == {"loss", "mae"}


def test_of_several_trainings_the_mean_counts_as_in_keras_tuner(tmp_path: Path) -> None:
    fit = """
    def fit(self, hp, model, x, y, validation_data, **kwargs):
        start, told = model.get_weights(), []
        for half in (slice(0, 48), slice(48, 96)):
            model.set_weights(start)
            told.append(model.fit(x[half], y[half], validation_data=validation_data, **kwargs))
        return told
    """
    text = "training: {epochs: 3}\nobjective: {metric: val_mae, goal: minimize}\n"
    one = worker(tmp_path, fit, text)
    searched, best = trial(one, 3), trial(one, 3, purpose="best")
    score = searched.curves["val_mae"]
    assert len(set(score)) == 1
    own = exported_mae(best)
    assert own != pytest.approx(score[0], rel=1e-3)
    assert f"the model is the one that build made; the last of them scored {own:.4}"[:-1] in best.facts["note"]


def test_a_model_that_was_not_trained_is_not_given_out(tmp_path: Path) -> None:
    fit = """
    def fit(self, hp, model, x, y, validation_data, **kwargs):
        other = dense()
        other.fit(x, y, **kwargs)
        return mae(other, validation_data)
    """
    one = worker(tmp_path, fit)
    assert any("train-best will have no model to write" in note for note in probe(one)["notes"])
    assert trial(one).epochs == 4
    with pytest.raises(SegmentFailed, match="left the model that build made as it was"):
        trial(one, purpose="best")


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ("None", "fit returned NoneType..*did you forget to return the metrics"),
        ("'text'", "fit returned str; a History, a dict of metrics, a number or a list of these is wanted"),
        ("{'val_mea': 1.0}", "no metric 'my_mae' is reported. Known: val_mea, loss, mae"),
        ("[]", "returned an empty list"),
    ],
)
def test_what_is_no_score_is_told_before_the_first_trial(tmp_path: Path, returned: str, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        probe(worker(tmp_path, HEAD_OF_FIT + f"    model.fit(x, y, **kwargs)\n    return {returned}\n"))


def test_a_number_needs_an_objective(tmp_path: Path) -> None:
    fit = HEAD_OF_FIT + "    model.fit(x, y, **kwargs)\n    return 1.0\n"
    assert "objective: is required where the HyperModel's fit returns a number" in refused(tmp_path, fit, "")


# --- what the YAML says reaches it, or is refused ---------------------------------------------------------------------

PASSES = "def fit(self, hp, model, *args, **kwargs): return model.fit(*args, **kwargs)"

CLASSES = HEAD.replace("arrays', scale", "classes', class_weight: {'1': 7}, scale")

WEIGHTED = HEAD.replace("arrays", "weighted")


def plain_fit(one: Worker, values: dict[str, int], epochs: int, compiled: Any = None, **options: Any) -> Any:
    """The history of the same training by Keras alone, from the seed of the trial, over the same rows."""
    data = one.trainer().loaded.data  # type: ignore[attr-defined]  # the trainer of Keras models
    held = (data.validation.x, data.validation.y, data.validation.sample_weight)
    keras().utils.set_random_seed(seeds.derive(0, "own fit", values, 0))
    model = sys.modules["own_code"].dense()
    if compiled is not None:
        model.compile(**compiled)
    return model.fit(data.train.x, data.train.y, validation_data=held, epochs=epochs, verbose=0, **options).history


@pytest.mark.parametrize(
    ("head", "training", "options"),
    [
        pytest.param(HEAD, "", {}, marks=pytest.mark.slow),
        pytest.param(HEAD, ", batch_size: 16", {"batch_size": 16}, marks=pytest.mark.slow),
        (CLASSES, "", {"class_weight": {0: 1.0, 1: 7.0}}),
        pytest.param(WEIGHTED, "", {"sample_weight": True}, marks=pytest.mark.slow),
    ],
)
def test_what_is_given_trains_as_keras_has_it(
    tmp_path: Path, head: str, training: str, options: dict[str, Any]
) -> None:
    one = worker(tmp_path, PASSES, f"training: {{epochs: 2{training}}}\nobjective: {{metric: val_mae}}\n", head)
    probe(one)
    found = trial(one, 2).curves
    if "sample_weight" in options:
        options = {"sample_weight": one.trainer().loaded.data.train.sample_weight}  # type: ignore[attr-defined]
    plain = plain_fit(one, {"n": 1}, 2, **options)
    assert set(found) == set(plain)
    for name, values in plain.items():
        assert found[name] == pytest.approx(values, rel=1e-5), name
    if options:
        assert found["loss"] != pytest.approx(plain_fit(one, {"n": 1}, 2)["loss"], rel=1e-3)


def test_what_does_not_reach_it_is_refused_with_its_place(tmp_path: Path) -> None:
    bare = "def fit(self, hp, model, x, y, validation_data, callbacks=None, epochs=1, verbose=0):\n"
    bare += "    return model.fit(x, y, validation_data=validation_data[:2], epochs=epochs, verbose=0)\n"
    text = "training: {batch_size: 16}\n"
    told = refused(tmp_path, bare, text, CLASSES)
    assert "training.batch_size: has no effect, since the HyperModel's fit passes batch_size on to no" in told
    assert "data.class_weight: has no effect" in told
    sys.modules.pop("own_code")
    swallows = HEAD_OF_FIT + "    return model.fit(x, y, validation_data=validation_data[:2], epochs=2)\n"
    told = refused(tmp_path, swallows, "training: {epochs: 5, batch_size: 16}\nstrategy: {name: hyperband}\n", WEIGHTED)
    assert "training.epochs: has no effect" in told
    assert "training.batch_size: has no effect" in told
    assert "data.python: has no effect, since the HyperModel's fit passes sample_weight on to no model.fit" in told
    assert "strategy.name: trains in rungs" in told


def test_its_own_batch_size_and_epochs_stand(tmp_path: Path) -> None:
    fit = """
    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, epochs=hp.Int("epochs", 2, 3), batch_size=hp.Choice("batch", [16, 64]), **kwargs)
    """
    one = worker(tmp_path, fit, "objective: {metric: val_mae}\n")
    assert {"n", "epochs", "batch"} == set(probe(one)["space"])
    values = {"n": 1, "epochs": 3, "batch": 16}
    found = trial(one, 20, values)
    assert (found.epochs, found.ended) == (3, True)
    assert found.curves["loss"] == pytest.approx(plain_fit(one, values, 3, batch_size=16)["loss"], rel=1e-5)
    sys.modules.pop("own_code")
    told = refused(tmp_path, fit, "training: {batch_size: 8, epochs: 6}\nobjective: {metric: val_mae}\n")
    assert "training.batch_size: has no effect" in told
    assert "training.epochs: has no effect, since the HyperModel's fit has epochs of its own" in told


def test_epochs_of_other_models_are_not_known_and_said_to_be_so(tmp_path: Path) -> None:
    fit = """
    def fit(self, hp, model, *args, callbacks=None, **kwargs):
        other = keras.models.clone_model(model)
        other.compile("sgd", "mse", metrics=["mae"])
        return other.fit(*args, **kwargs).history["val_mae"][-1]
    """
    given = probe(worker(tmp_path, fit, "training: {epochs: 3}\nobjective: {metric: score, goal: minimize}\n"))
    assert any(note.startswith("whether the HyperModel's fit trains for training.epochs") for note in given["notes"])
    sys.modules.pop("own_code")
    text = "training: {epochs: 3}\nobjective: {metric: score, goal: minimize}\nstrategy: {name: hyperband}\n"
    assert "strategy.name: trains in rungs" in refused(tmp_path, fit, text)


def test_the_yaml_compiles_the_model(tmp_path: Path) -> None:
    text = "training: {epochs: 2, optimizer: {name: adam, learning_rate: 0.02}, loss: mae, metrics: [mse]}\n"
    one = worker(tmp_path, PASSES, text)
    probe(one)
    found = trial(one, 2).curves
    assert set(found) == {"loss", "mse", "val_loss", "val_mse"}
    compiled = {"optimizer": keras().optimizers.Adam(0.02), "loss": "mae", "metrics": ["mse"]}
    plain = plain_fit(one, {"n": 1}, 2, compiled)
    assert found["val_mse"] == pytest.approx(plain["val_mse"], rel=1e-5)


def test_a_fit_that_compiles_for_itself_is_told(tmp_path: Path) -> None:
    fit = """
    def fit(self, hp, model, *args, **kwargs):
        model.compile("sgd", "mse", metrics=["mae"])
        return model.fit(*args, **kwargs)
    """
    told = refused(tmp_path, fit, "training: {optimizer: {name: adam}, metrics: [mse]}\n")
    assert "training.metrics: has no effect" in told
    assert "training.optimizer: has no effect, since the HyperModel's fit does not train with it" in told


def test_what_build_leaves_in_the_object_is_there_for_fit(tmp_path: Path) -> None:
    fit = """
    def __init__(self):
        super().__init__()
        self.rate = None
    def build(self, hp):
        self.rate = hp.Choice("rate", [0.0, 0.05])
        return dense()
    def fit(self, hp, model, *args, **kwargs):
        model.optimizer.learning_rate = self.rate
        return model.fit(*args, **kwargs)
    """
    one = worker(tmp_path, fit, "objective: {metric: val_mae}\n")
    probe(one)
    still, moved, again = (trial(one, 2, {"rate": rate}).curves["val_mae"] for rate in (0.0, 0.05, 0.0))
    assert still[0] == still[1] == again[0]
    assert moved[1] < moved[0] < still[0]


def test_rungs_are_those_of_one_training(tmp_path: Path) -> None:
    text = "training: {epochs: 4}\nstrategy: {name: asha}\nobjective: {metric: val_mae}\n"
    one = worker(
        tmp_path, PASSES.replace("*args, **kwargs): ret", "*args, **kwargs): kwargs['shuffle'] = False; ret"), text
    )
    probe(one)
    whole = trial(one, 4)
    first = trial(one, 2, keep_state=True)
    second = trial(one, 4, from_epoch=2)
    assert len(second.curves["val_mae"]) == 2
    assert (*first.curves["val_mae"], *second.curves["val_mae"]) == whole.curves["val_mae"]


def test_layers_may_be_thawed_in_it(tmp_path: Path) -> None:
    fit = """
    def build(self, hp):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, trainable=False), keras.layers.Dense(1)])
        model.compile("sgd", "mse", metrics=["mae"], run_eagerly=True)
        return model
    def fit(self, hp, model, *args, **kwargs):
        model.fit(*args, **kwargs)
        model.layers[0].trainable = True
        model.compile("sgd", "mse", metrics=["mae"], run_eagerly=True)
        return model.fit(*args, **kwargs)
    """
    one = worker(tmp_path, fit, "objective: {metric: val_mae}\n")
    probe(one)
    best = trial(one, 2, purpose="best")
    assert exported_mae(best) == pytest.approx(min(best.curves["val_mae"]), rel=1e-5)


PAIRS = """
def fit(self, hp, model, x, y, validation_data, **kwargs):
    xv, yv = validation_data
    return model.fit(x, y, validation_data=(xv, yv), **kwargs)
"""


def test_weighted_validation_samples_and_a_fit_that_takes_pairs(tmp_path: Path) -> None:
    one = worker(tmp_path, PAIRS, "training: {epochs: 1}\nobjective: {metric: val_mae}\n", WEIGHTED)
    assert (
        "the validation figures are not weighted: the HyperModel's fit takes validation (x, y)" in probe(one)["notes"]
    )
    assert trial(one, 1).curves["val_mae"][0] > 0
    sys.modules.pop("own_code")
    late = HEAD_OF_FIT + "    model.fit(x, y, **kwargs)\n    xv, yv = validation_data\n    return {'my_mae': 1.0}\n"
    assert "Write x, y, *_ = validation_data in it" in refused(tmp_path, late, head=WEIGHTED)


def test_what_the_yaml_left_out_stays_left_out_for_train_best(tmp_path: Path) -> None:
    for number, given in enumerate(("batch_size: 32", "metrics: [mse]")):
        one = worker(tmp_path, PASSES, f"training: {{{given}}}\nobjective: {{metric: val_loss}}\n")
        facts = probe(one)
        experiment = filled(load(tmp_path / "spec.yaml").experiment, facts)
        head = Head(head_event(experiment, space=joined_space(experiment, facts), facts=facts, folder=tmp_path))
        assert ("batch_size" in head.experiment.training.model_fields_set) == (number == 0)
        assert "epochs" not in head.experiment.training.model_fields_set
        assert head.experiment.training.epochs == 20
        check_same_spec(head, experiment)
        sys.modules.pop("own_code")


# --- the test part ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "measured"),
    [("x", True), ("x / 2", False), ("folds", True), ("tf.data.Dataset", True), ("uncompiled", False)],
)
def test_a_test_figure_is_told_only_of_samples_as_fit_has_them(tmp_path: Path, change: str, measured: bool) -> None:
    if change == "uncompiled":
        fit = LOOP
    elif change == "folds":
        fit = """
        def fit(self, hp, model, x, y, validation_data, **kwargs):
            return [model.fit(x[a::2], y[a::2], validation_data=(x[1 - a::2], y[1 - a::2]), **kwargs) for a in (0, 1)]
        """
    elif change == "tf.data.Dataset":
        fit = """
        def fit(self, hp, model, x, y, validation_data, **kwargs):
            train, held = (tf.data.Dataset.from_tensor_slices(one).batch(20) for one in ((x, y), validation_data))
            return model.fit(train, validation_data=held, **kwargs)
        """
    else:
        fit = f"""
        def fit(self, hp, model, x, y, validation_data, **kwargs):
            prepare, (held, wanted) = lambda x: {change}, validation_data
            return model.fit(prepare(x), y, validation_data=(prepare(held), wanted), **kwargs)
        """
    one = worker(tmp_path, fit, "training: {epochs: 2}\nobjective: {metric: val_mae}\n")
    best = trial(one, 2, purpose="best", values=LOOP_VALUES if change == "uncompiled" else None)
    assert ("test" in best.facts) == measured
    assert ("no figure on the test part, since" in best.facts.get("note", "")) != measured


# --- KerasTuner's guide on custom training loops ----------------------------------------------------------------------

LOOP = """
def build(self, hp):
    inputs = keras.Input(shape=(4,))
    x = keras.layers.Dense(units=hp.Choice("units", [4, 8]), activation="relu")(inputs)
    return keras.Model(inputs=inputs, outputs=keras.layers.Dense(1)(x))
def fit(self, hp, model, x, y, validation_data, callbacks=None, **kwargs):
    size = hp.Int("batch_size", 32, 64, step=32, default=64)
    train = tf.data.Dataset.from_tensor_slices((x, y)).batch(size)
    held = tf.data.Dataset.from_tensor_slices(validation_data).batch(size)
    optimizer = keras.optimizers.Adam(hp.Float("learning_rate", 1e-3, 1e-1, sampling="log", default=1e-2))
    loss_fn = keras.losses.MeanAbsoluteError()
    tracked = keras.metrics.Mean()
    @tf.function
    def train_step(x, y):
        with tf.GradientTape() as tape:
            loss = loss_fn(y[:, None], model(x))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    @tf.function
    def val_step(x, y):
        tracked.update_state(loss_fn(y[:, None], model(x)), sample_weight=len(y))
    for callback in callbacks:
        callback.set_model(model)
    best = float("inf")
    for epoch in range(3):
        for images, labels in train:
            train_step(images, labels)
        for images, labels in held:
            val_step(images, labels)
        found = float(tracked.result().numpy())
        for callback in callbacks:
            callback.on_epoch_end(epoch, logs={"val_mae": found})
        tracked.reset_state()
        best = min(best, found)
    return best
"""

LOOP_VALUES = {"units": 8, "batch_size": 32, "learning_rate": 0.05}


@pytest.mark.slow
def test_a_loop_of_its_own_as_in_kerastuners_guide(tmp_path: Path) -> None:
    one = worker(tmp_path, LOOP, "objective: {metric: val_mae, goal: minimize}\n")
    assert set(probe(one)["space"]) == {"units", "batch_size", "learning_rate"}
    epochs: list[int] = []
    one.run(Segment(0, LOOP_VALUES, to_epoch=20), lambda _, epoch, __: epochs.append(epoch))
    assert epochs == [1, 2, 3]
    best = trial(one, 20, LOOP_VALUES, purpose="best")
    assert len(best.curves["val_mae"]) == 3
    assert exported_mae(best) == pytest.approx(min(best.curves["val_mae"]), rel=1e-4)
    assert "a model that is not compiled" in best.facts["note"]


# --- what is asked late -----------------------------------------------------------------------------------------------


def test_what_it_asks_for_after_training_is_found(tmp_path: Path) -> None:
    fit = """
    def fit(self, hp, model, x, y, validation_data, **kwargs):
        history = model.fit(x, y, validation_data=validation_data, **kwargs)
        if hp.Boolean("again"):
            model.optimizer.learning_rate = hp.Float("late", 1e-3, 1e-1, sampling="log")
            return model.fit(x, y, validation_data=validation_data, **kwargs)
        return {name: values[-1] for name, values in history.history.items()}
    """
    space = probe(worker(tmp_path, fit, "objective: {metric: val_mae}\n"))["space"]
    assert space["again"]["values"] == [True, False]
    assert space["late"]["when"] == {"again": [True]}


def test_what_was_not_found_fails_the_trial_that_asks_for_it(tmp_path: Path) -> None:
    fit = """
    def fit(self, hp, model, *args, **kwargs):
        if 0.61 < hp.Float("rate", 0.0, 1.0, default=0.1) < 0.62:
            hp.Int("late", 1, 5)
        return model.fit(*args, **kwargs)
    """
    one = worker(tmp_path, fit, "objective: {metric: val_mae}\n")
    assert "late" not in probe(one)["space"]
    assert trial(one, 1, {"n": 1, "rate": 0.2}).epochs == 1
    with pytest.raises(SegmentFailed, match=r"asks for 'late'.*search_space: \{late: \{type: int, min: 1, max: 5"):
        trial(one, 1, {"n": 1, "rate": 0.615})


def test_few_samples_may_be_too_few_to_try_it_on(tmp_path: Path) -> None:
    fit = """
    def fit(self, hp, model, x, y, **kwargs):
        if len(x) < 90:
            raise ValueError("too few")
        hp.Int("found", 1, 2)
        return model.fit(x, y, **kwargs)
    """
    assert "found" in probe(worker(tmp_path, fit, "objective: {metric: val_mae}\n"))["space"]


COUNTS_ON = """
    def fit(self, hp, model, *args, epochs=1, **kwargs):
        model.fit(*args, epochs=2, **kwargs)
        return model.fit(*args, epochs=2 + epochs, initial_epoch=2, **kwargs)
"""


def test_epochs_may_be_counted_on_after_a_first_phase(tmp_path: Path) -> None:
    one = worker(tmp_path, COUNTS_ON, "training: {epochs: 3}\nobjective: {metric: val_mae, goal: minimize}\n")
    probe(one)
    assert len(trial(one, 3).curves["val_mae"]) == 3


MODELS_OWN = """
class Itself(keras.Sequential):
    def fit(self, *args, **kwargs):
        {change}
        return super().fit(*args, **kwargs)
def build(hp):
    model = Itself([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.01 * hp.Int("n", 1, 2)), "mse", metrics=["mae"])
    return model
"""


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("pass", None),
        ("kwargs['epochs'] = 2", r"training.epochs \(3\) did not reach training \(2\)"),
        ("kwargs['batch_size'] = 8", r"training.batch_size \(32\) did not reach training \(12 steps an epoch\)"),
        ("kwargs['batch_size'] = 96", "trains 1 steps an epoch, and batches of 32 of all samples are 3"),
    ],
)
def test_what_a_models_own_fit_passes_over_is_told(tmp_path: Path, change: str, told: str | None) -> None:
    (tmp_path / "own_code.py").write_text(CODE + MODELS_OWN.format(change=change))
    head = HEAD.replace("own_code:Own", "own_code:build")
    text = "training: {epochs: 3, batch_size: 32}\nobjective: {metric: val_mae, goal: minimize}\n"
    (tmp_path / "spec.yaml").write_text(head + text)
    loaded = load(tmp_path / "spec.yaml")
    one = Worker(loaded.experiment, loaded.folder, RunPaths(tmp_path / "runs" / "t"))
    assert "HyperModel" not in str(probe(one).get("notes")), "there is none"
    if told is not None and told.endswith(")"):
        with pytest.raises(SegmentFailed, match=told):
            trial(one, 3)
        return
    found = trial(one, 3)
    assert (found.facts.get("note") is None) == (told is None)
    assert told is None or told in found.facts["note"]


def test_rows_of_a_table_come_in_its_order(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{row},{row * 0.5}\n" for row in range(60)))
    fit = """
    def fit(self, hp, model, x, y, validation_data, callbacks=None, epochs=1, verbose=0, batch_size=None):
        assert (np.diff(x[:, 0]) > 0).all() and np.allclose(y, x[:, 0] * 0.5)
        return float(len(x))
    """
    head = HEAD.replace("python: 'own_code:arrays'", "csv: t.csv, target: y").replace("Input((4,))", "Input((1,))")
    one = worker(tmp_path, fit, MAE, head)
    (tmp_path / "own_code.py").write_text((tmp_path / "own_code.py").read_text().replace("Input((4,))", "Input((1,))"))
    assert trial(one).curves["my_mae"][0] == 36.0
