"""Segments of Keras experiments as the engine submits them: from YAML to curves, states and exported models."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from hptune.base.errors import SegmentFailed, SpecError
from hptune.base.trial import Segment, SegmentResult
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.data import load_data
from hptune.training.worker import Worker

DIGITS = """
version: 1
name: t
data: {source: digits, limit: 300}
model:
  layers:
    - Flatten
    - Dense: {units: $units, activation: relu}
    - Dropout: {rate: 0.2}
    - Dense: {units: 10, activation: softmax}
search_space:
  units: {type: int, min: 8, max: 32}
training: {optimizer: {name: adam, learning_rate: 1e-2}, epochs: 4}
"""

BUILDERS = """
import keras, keras_tuner
def compiled(layers, rate=1e-2, loss="sparse_categorical_crossentropy"):
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), *layers])
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model
softmax = lambda: keras.layers.Dense(10, activation="softmax")
def build(hp):
    layers = [keras.layers.Dense(hp.Int("units", 8, 32), activation="relu"),
              keras.layers.Dropout(hp.Float("rate", 0.0, 0.5)), softmax()]
    return compiled(layers, hp.Float("lr", 1e-4, 1e-1, sampling="log"))
def functional(hp):
    x = inputs = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(hp.Int("units", 8, 32), activation="relu")(x)
    y = keras.layers.Dense(10)(x)
    outputs = keras.layers.Softmax()(keras.layers.Add()([y, keras.layers.Dense(10)(x)]))
    model = keras.Model(inputs, outputs)
    accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(), metrics=[accuracy])
    return model
class Net(keras.Model):
    def __init__(self, units):
        super().__init__()
        relu, drop = keras.layers.Dense(units, activation="relu"), keras.layers.Dropout(0.1)
        self.stack = [keras.layers.Flatten(), relu, drop, softmax()]
    def call(self, x, training=False):
        for layer in self.stack:
            x = layer(x, training=training) if isinstance(layer, keras.layers.Dropout) else layer(x)
        return x
def subclassed(hp):
    model = Net(hp.Int("units", 8, 32))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
class OwnStep(keras.Sequential):
    def train_step(self, data):
        told = super().train_step(data)
        return {**told}
def pretrained(hp):
    model = build(hp)
    model.layers[1].set_weights([w * 0 + 0.125 for w in model.layers[1].get_weights()])
    return model
class Mine(keras_tuner.HyperModel):
    def build(self, hp): return build(hp)
    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, batch_size=hp.Choice("batch", [16, 64]), **kwargs)
"""


def worker(folder: Path, text: str) -> Worker:
    folder.mkdir(exist_ok=True)
    (folder / "spec.yaml").write_text(dedent(text))
    (folder / "builders.py").write_text(BUILDERS)
    loaded = load(folder / "spec.yaml")
    return Worker(loaded.experiment, loaded.folder, RunPaths(folder / "runs" / "t"))


def python(reference: str) -> str:
    head = "version: 1\nname: t\ndata: {source: digits, limit: 300}\n"
    return f'{head}model: {{python: "builders:{reference}"}}\ntraining: {{epochs: 4}}\n'


def trained(folder: Path, text: str, **segment: Any) -> SegmentResult:
    return worker(folder, text).run(Segment(**{"trial": 0, "values": {"units": 16}, "to_epoch": 4, **segment}))


@pytest.fixture
def fresh_modules() -> Any:
    yield
    sys.modules.pop("builders", None)


def test_a_trial_learns_and_the_same_segment_gives_the_same_bits(tmp_path: Path) -> None:
    first = trained(tmp_path, DIGITS)
    assert list(first.curves) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert first.epochs == 4
    assert first.curves["val_accuracy"][-1] > 0.6
    assert first.facts["parameters"] == 64 * 16 + 16 + 16 * 10 + 10
    one = worker(tmp_path, DIGITS)
    one.run(Segment(1, {"units": 9}, to_epoch=2))  # another trial before it changes nothing
    assert one.run(Segment(7, {"units": 16}, to_epoch=4)).curves == first.curves
    assert one.run(Segment(7, {"units": 16}, to_epoch=4, replica=1)).curves != first.curves


def test_segments_chain_through_a_file(tmp_path: Path) -> None:
    whole = trained(tmp_path, DIGITS)
    first = trained(tmp_path, DIGITS, to_epoch=1, keep_state=True)
    assert first.state
    second = trained(tmp_path, DIGITS, from_epoch=1)
    assert not second.state
    assert {name: first.curves[name] + second.curves[name] for name in first.curves} == whole.curves


def test_a_state_is_kept_only_for_a_score_that_is_good_enough(tmp_path: Path) -> None:
    score = max(trained(tmp_path, DIGITS).curves["val_accuracy"])
    assert trained(tmp_path, DIGITS, keep_above=score - 0.01).state
    assert not trained(tmp_path, DIGITS, keep_above=score).state


def test_early_stopping_ends_the_training_wherever_the_segments_are_cut(tmp_path: Path) -> None:
    text = DIGITS.replace("epochs: 4", "epochs: 30, early_stopping: {monitor: val_loss, patience: 2}").replace(
        "1e-2", "5e-2"
    )
    whole = trained(tmp_path, text, to_epoch=30)
    assert whole.ended
    assert 3 <= whole.epochs < 30
    best = int(np.argmin(whole.curves["val_loss"]))
    assert whole.epochs == best + 3
    cut = whole.epochs - 1
    first = trained(tmp_path, text, to_epoch=cut, keep_state=True)
    assert not first.ended
    assert trained(tmp_path, text, from_epoch=cut, to_epoch=30).epochs == whole.epochs


def test_the_winner_is_measured_on_the_test_part_and_exported_as_stock_keras(tmp_path: Path) -> None:
    text = DIGITS.replace("source: digits", "source: wine").replace("10,", "3,").replace(", limit: 300", "")
    searched = trained(tmp_path, text)
    best = trained(tmp_path, text, purpose="best")
    assert best.curves == searched.curves
    assert best.facts["best_epoch"] == int(np.argmax(best.curves["val_accuracy"])) + 1
    assert best.facts["learning_rates"] == [0.01] * 4
    loaded = load(tmp_path / "spec.yaml")
    data = load_data(loaded.experiment.data, folder=tmp_path, seed=0, with_test=True)  # type: ignore[arg-type]
    from sklearn.datasets import load_wine

    # Where hptune is not installed the model takes the raw columns and gives what was measured.
    script = (
        "import sys; sys.modules['hptune'] = None\nimport keras, numpy as np\n"
        "import warnings; warnings.simplefilter('error')\n"
        f"model = keras.models.load_model({best.facts['model']!r})\n"
        f"x, y = np.load({str(tmp_path / 'x.npy')!r}), np.load({str(tmp_path / 'y.npy')!r})\n"
        "told = model.evaluate(x, y, verbose=0, return_dict=True)\n"
        "print(told['accuracy'], [type(l).__name__ for l in model.layers])\n"
    )
    offset, divisor = data.input_scale  # type: ignore[misc]
    assert data.test is not None
    raw = data.test.x * divisor + offset
    assert np.isclose(load_wine().data[:, None, :], raw[None], rtol=1e-4).all(-1).any(0).all(), "rows of the data set"
    np.save(tmp_path / "x.npy", raw.astype(np.float32))
    np.save(tmp_path / "y.npy", data.test.y)
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split(
        maxsplit=1
    )
    assert float(told[0]) == pytest.approx(best.facts["test"]["accuracy"], abs=1e-6)
    assert told[1].strip() == "['Rescaling', 'Rescaling', 'Flatten', 'Dense', 'Dropout', 'Dense']"


def test_regression_is_told_in_the_targets_own_unit(tmp_path: Path) -> None:
    text = """
    version: 1
    name: t
    data: {source: diabetes}
    model: {layers: [Dense: {units: $units, activation: relu}, Dense: {units: 1}]}
    search_space: {units: {type: int, min: 8, max: 32}}
    training: {epochs: 20}
    """
    result = trained(tmp_path, text, to_epoch=20, purpose="best")
    assert 30 < result.curves["val_mae"][-1] < 60  # predicting the mean gives 66; an unscaled target 150
    assert result.curves["val_loss"][-1] < 1.0  # of standardised targets, whose mean predicts with 1.0
    assert 30 < result.facts["test"]["mae"] < 60


@pytest.mark.usefixtures("fresh_modules")
@pytest.mark.parametrize(
    "reference",
    ["build", "subclassed", *(pytest.param(n, marks=pytest.mark.slow) for n in ("functional", "pretrained", "Mine"))],
)
def test_models_from_code(tmp_path: Path, reference: str) -> None:
    facts = worker(tmp_path, python(reference)).run(Segment(0, {}, purpose="probe")).facts
    assert facts["space"]["units"] == {"type": "int", "min": 8, "max": 32, "default": 8}
    values = {name: domain["default"] for name, domain in facts["space"].items()}
    whole = trained(tmp_path, python(reference), values=values)
    assert whole.curves["val_loss"][-1] < whole.curves["val_loss"][0]
    assert trained(tmp_path, python(reference), values=values).curves == whole.curves
    best = trained(tmp_path, python(reference), values=values, purpose="best")
    assert best.curves == whole.curves
    assert Path(best.facts["model"]).exists()
    assert best.facts["test"]["accuracy"] == pytest.approx(max(whole.curves["val_accuracy"]), abs=0.35)
    first = trained(tmp_path, python(reference), values=values, to_epoch=2, keep_state=True)
    second = trained(tmp_path, python(reference), values=values, from_epoch=2)
    assert first.curves["val_loss"] == whole.curves["val_loss"][:2]
    if reference != "Mine":  # a fit of its own draws its own order of samples
        assert second.curves["val_loss"] == whole.curves["val_loss"][2:]


@pytest.mark.usefixtures("fresh_modules")
def test_trials_of_a_builder_share_a_program_where_dials_alone_differ(tmp_path: Path) -> None:
    one = worker(tmp_path, python("build"))
    for n in range(5):
        one.run(Segment(n, {"units": 16, "rate": 0.1 * n, "lr": 10.0 ** -(n + 1)}, to_epoch=1))
    (program,) = one.trainer().loaded.programs._programs.values()  # type: ignore[attr-defined]
    assert program.traces == 1


@pytest.mark.usefixtures("fresh_modules")
def test_pretrained_weights_of_a_builder_are_kept(tmp_path: Path) -> None:
    one = worker(tmp_path, python("pretrained"))
    values = {"units": 16, "rate": 0.1, "lr": 1e-9}
    one.run(Segment(0, values, to_epoch=1))
    (program,) = one.trainer().loaded.programs._programs.values()  # type: ignore[attr-defined]
    np.testing.assert_allclose(program.weights()[0], 0.125, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "path", "told"),
    [
        (
            ("units: 10, activation", "units: 5, activation"),
            ("model", "layers", 3),
            "gives 5 values a sample, but the target has 10 classes",
        ),
        (("- Flatten", "- Activation: {activation: relu}"), ("model", "layers", 3), "Put Flatten"),
        (("- Flatten", "- Conv2D: {filters: 2, kernel_size: 30}"), ("model", "layers", 0), "no model for units=20"),
    ],
    ids=["labels", "no flatten", "kernel too large"],
)
def test_what_can_be_known_is_told_before_the_first_trial(
    tmp_path: Path, change: tuple[str, str], path: tuple[Any, ...], told: str
) -> None:
    with pytest.raises(SpecError, match=told) as error:
        trained(tmp_path, DIGITS.replace(*change), purpose="probe", values={})
    assert error.value.problems[0].path == path


def test_values_that_make_no_model_fail_their_own_trial(tmp_path: Path) -> None:
    text = DIGITS.replace("- Flatten", "- Conv2D: {filters: 2, kernel_size: $size}\n    - Flatten").replace(
        "search_space:", "search_space:\n  size: {type: choice, values: [3, 30]}"
    )
    one = worker(tmp_path, text)
    one.run(Segment(0, {}, purpose="probe"))
    with pytest.raises(SegmentFailed, match="ValueError"):
        one.run(Segment(3, {"size": 30, "units": 8}, to_epoch=1))
    assert "Traceback" in (tmp_path / "runs/t/trials/0003/error.txt").read_text()
    assert one.run(Segment(4, {"size": 3, "units": 8}, to_epoch=1)).epochs == 1


def test_a_traceback_of_gigabytes_fills_no_disk(tmp_path: Path) -> None:
    (tmp_path / "huge.py").write_text(
        "def f(x): raise ValueError('the first words' + 'x' * 10**7 + 'the last words')\n"
    )
    text = "version: 1\nname: t\nmodel: {function: 'huge:f'}\nsearch_space: {x: {type: int, min: 0, max: 9}}\n"
    one = worker(tmp_path, text + "objective: {metric: score, goal: maximize}\n")
    with pytest.raises(SegmentFailed, match="the first words"):
        one.run(Segment(3, {"x": 1}, to_epoch=1))
    told = (tmp_path / "runs/t/trials/0003/error.txt").read_text()
    assert len(told) < 70_000
    assert "the first words" in told
    assert told.endswith("the last words\n")


def test_a_loss_that_diverges_fails_the_trial(tmp_path: Path) -> None:
    text = DIGITS.replace("name: adam, learning_rate: 1e-2", "name: sgd, learning_rate: 1e30")
    with pytest.raises(SegmentFailed, match="training diverged"):
        trained(tmp_path, text)


def test_a_number_beyond_a_dials_range_is_left_to_keras(tmp_path: Path) -> None:
    """Everything is dropped at a rate of 1, which Keras takes; a rate above 1 it refuses."""
    text = DIGITS.replace("rate: 0.2", "rate: $rate").replace(
        "search_space:", "search_space:\n  rate: {type: float, min: 0, max: 2}"
    )
    one = worker(tmp_path, text)
    losses = {}
    for rate in (0.0, 1.0):
        losses[rate] = one.run(Segment(0, {"units": 8, "rate": rate}, to_epoch=1)).curves["loss"][0]
    assert losses[1.0] == pytest.approx(np.log(10), abs=0.2)
    assert losses[0.0] != losses[1.0]
    with pytest.raises(SegmentFailed, match="rate"):
        one.run(Segment(0, {"units": 8, "rate": 1.5}, to_epoch=1))


def test_a_batch_larger_than_the_data_is_one_step_whatever_came_before(tmp_path: Path) -> None:
    """As in Keras; the structure is known when the second trial comes, and was not when it came first."""
    text = DIGITS.replace("epochs: 4", "epochs: 4, batch_size: $batch").replace(
        "search_space:", "search_space:\n  batch: {type: choice, values: [32, 4000]}"
    )
    one, other = worker(tmp_path / "one", text), worker(tmp_path / "other", text)
    one.run(Segment(0, {"units": 8, "batch": 32}, to_epoch=2))
    large = [w.run(Segment(1, {"units": 8, "batch": 4000}, to_epoch=2)).curves for w in (one, other)]
    assert large[0] == large[1]


def test_a_range_test_ends_at_its_last_rate_where_a_batch_is_left_over(tmp_path: Path) -> None:
    """180 samples in batches of 50 are four steps an epoch: no rate is left untried."""
    one = worker(tmp_path, DIGITS.replace("epochs: 4", "epochs: 4, batch_size: 50"))
    found = one.run(Segment(0, {"units": 8}, purpose="lr_range")).facts
    assert len(found["rates"]) == len(found["losses"]) == 200
    assert found["rates"][0] == pytest.approx(1e-7)
    assert found["rates"][-1] == pytest.approx(10.0)


# --- the recipe -----------------------------------------------------------------------------------------------------


def test_a_ramp_finds_its_epoch_before_the_winner_is_trained(tmp_path: Path) -> None:
    text = (
        DIGITS.replace("epochs: 4", "epochs: 12").replace("1e-2", "1e-1")
        + "schedule: {name: ramp, epoch: auto, factor: 10}\n"
    )
    searched = trained(tmp_path, text, to_epoch=3)
    assert "ramp" not in searched.facts
    best = trained(tmp_path, text, purpose="best", to_epoch=12)
    ramp = best.facts["ramp"]
    assert ramp["epoch"] == max(1, ramp["stopped_at"] - 5)
    assert ramp["epoch"] < 12
    rates = best.facts["learning_rates"]
    assert rates == pytest.approx([0.1] * ramp["epoch"] + [0.01] * (12 - ramp["epoch"]))
    assert best.curves["val_loss"][: min(ramp["epoch"], 3)] == searched.curves["val_loss"][: min(ramp["epoch"], 3)]
    short = trained(tmp_path, text, purpose="best", to_epoch=1)
    assert "note" not in best.facts
    late = trained(tmp_path, text.replace("epochs: 12", "epochs: 1"), purpose="best", to_epoch=1)
    assert "the rate did not drop" in late.facts["note"]
    assert short.facts["ramp"] == late.facts["ramp"]


def test_a_plateau_lowers_the_rate_wherever_the_segments_are_cut(tmp_path: Path) -> None:
    plateau = "schedule: {name: plateau, factor: 0.5, patience: 1, min: 1e-3}\n"
    text = DIGITS.replace("epochs: 4", "epochs: 16").replace("1e-2", "1e-1") + plateau
    whole = trained(tmp_path, text, to_epoch=16, purpose="best")
    rates = whole.facts["learning_rates"]
    assert rates[0] == pytest.approx(0.1)
    assert len(set(rates)) > 2
    assert rates == sorted(rates, reverse=True)
    assert min(rates) >= 1e-3
    first = trained(tmp_path, text, to_epoch=9, keep_state=True)
    second = trained(tmp_path, text, from_epoch=9, to_epoch=16)
    assert first.curves["val_loss"] + second.curves["val_loss"] == whole.curves["val_loss"]


def test_patience_counts_cycles_under_restarts(tmp_path: Path) -> None:
    text = DIGITS.replace("epochs: 4", "epochs: 40, early_stopping: {patience: 1%s}").replace("1e-2", "1e-1")
    text += "schedule: {name: cosine_restarts, cycles: 10}\n"
    by_cycle = trained(tmp_path, text % "", to_epoch=40)
    assert by_cycle.ended
    assert by_cycle.epochs % 4 == 0, "it ends with a cycle"
    assert trained(tmp_path, text % ", unit: epochs", to_epoch=40).epochs < by_cycle.epochs


@pytest.mark.usefixtures("fresh_modules")
def test_a_schedule_in_python(tmp_path: Path) -> None:
    module = f"rates_{abs(hash(str(tmp_path))) % 10**8}"
    (tmp_path / f"{module}.py").write_text(
        "def steps(step, total_steps, base_rate): return base_rate * (1 - step / total_steps)\n"
        "def keras_own(epoch, lr): return lr if epoch < 2 else lr * 0.5\n"
    )
    for schedule, expected in (
        (f'{{python: "{module}:steps"}}', [0.01, 0.0075, 0.005, 0.0025]),
        (f'{{python: "{module}:keras_own", per: epoch}}', [0.01, 0.01, 0.005, 0.0025]),
    ):
        result = trained(tmp_path, DIGITS + f"schedule: {schedule}\n", purpose="best")
        assert result.facts["learning_rates"] == pytest.approx(expected)


LOTTERY = "initialization: {stabilize: {method: lottery, draws: 3, epochs: 1, steps_per_epoch: 4}}\n"


def test_stabilised_weights_are_made_once_and_used_by_every_trial_of_the_architecture(tmp_path: Path) -> None:
    one = worker(tmp_path, DIGITS + LOTTERY)
    made = one.run(Segment(0, {"units": 16}, purpose="stabilize")).facts["stabilized"]
    assert len(set(made["losses"])) == 3
    assert made["chosen"] == made["losses"].index(min(made["losses"]))
    assert "stabilized" not in one.run(Segment(1, {"units": 16}, purpose="stabilize")).facts
    there = one.run(Segment(1, {"units": 16}, to_epoch=2))
    assert "stabilized" not in there.facts
    assert there.curves != trained(tmp_path / "plain", DIGITS, to_epoch=2).curves
    # a worker that finds them gone makes the same ones again
    (weights,) = (tmp_path / "runs/t/stabilized").iterdir()
    weights.unlink()
    again = worker(tmp_path, DIGITS + LOTTERY).run(Segment(1, {"units": 16}, to_epoch=2))
    assert again.facts["stabilized"] == made
    assert again.curves == there.curves
    assert one.run(Segment(2, {"units": 17}, to_epoch=1)).facts["stabilized"]["structure"] != made["structure"]
    assert one.run(Segment(2, {"units": 16}, to_epoch=1, replica=1)).facts["stabilized"]["losses"] != made["losses"]


def test_the_draws_may_have_an_optimizer_and_a_batch_size_of_their_own(tmp_path: Path) -> None:
    named = LOTTERY.replace("draws: 3", "draws: 3, optimizer: sgd, batch_size: 16")
    found = []
    for batch_size in (32, 64):
        text = DIGITS.replace("epochs: 4", f"epochs: 4, batch_size: {batch_size}") + named
        found.append(trained(tmp_path / str(batch_size), text, to_epoch=1).facts["stabilized"]["losses"])
    assert found[0] == found[1]


def test_a_range_test_tells_the_loss_of_every_step(tmp_path: Path) -> None:
    facts = trained(tmp_path, DIGITS, purpose="lr_range").facts
    assert len(facts["rates"]) == len(facts["losses"]) >= 200
    assert facts["rates"][0] == pytest.approx(1e-7)
    assert facts["rates"] == sorted(facts["rates"])
    assert min(facts["losses"]) < 0.8 * facts["losses"][0]
    assert facts["losses"][-1] > 2 * min(facts["losses"]) or np.isnan(facts["losses"][-1])


AUGMENT = ", augment: {flip: horizontal, translate: $shift, rotate: 0.05, zoom: 0.1, contrast: 0.1, brightness: 0.1%s}"


def test_augmentation_changes_training_alone_and_its_strengths_are_dials(tmp_path: Path) -> None:
    text = DIGITS.replace(", limit: 300", ", limit: 300" + AUGMENT % "").replace(
        "search_space:", "search_space:\n  shift: {type: float, min: 0, max: 0.2}"
    )
    one = worker(tmp_path, text)
    results = [one.run(Segment(0, {"units": 16, "shift": shift}, to_epoch=3)) for shift in (0.0, 0.1, 0.2)]
    assert len({r.curves["loss"] for r in results}) == 3
    (program,) = one.trainer().loaded.programs._programs.values()  # type: ignore[attr-defined]
    assert program.traces == 1
    best = one.run(Segment(0, {"units": 16, "shift": 0.1}, to_epoch=3, purpose="best"))
    assert best.curves == results[1].curves
    layers = exported_layers(best)
    assert layers == ["Flatten", "Dense", "Dropout", "Dense"]
    kept = worker(tmp_path, text.replace("brightness: 0.1", "brightness: 0.1, export: true"))
    layers = exported_layers(kept.run(Segment(0, {"units": 16, "shift": 0.1}, to_epoch=3, purpose="best")))
    assert layers[:3] == ["RandomFlip", "RandomTranslation", "RandomRotation"]


def exported_layers(result: SegmentResult) -> list[str]:
    from hptune.training import runtime

    model = runtime.keras().models.load_model(result.facts["model"])
    return [type(layer).__name__ for layer in model.layers]


@pytest.mark.parametrize("flow", [None, "a data set"])
@pytest.mark.parametrize("span", [(-1.0, 1.0), (-2.5, 3.0), (0.0, 1.0), (-100, 90), (0, 255)])
def test_pictures_keep_their_range_under_augmentation(span: tuple[float, float], flow: str | None) -> None:
    """A strength of next to nothing changes next to nothing."""
    from types import SimpleNamespace

    from hptune.training.models import augment

    x = np.random.default_rng(0).uniform(*span, size=(2000, 4, 4, 1)).astype(np.float32)
    x = x.astype(np.int16) if isinstance(span[1], int) else x
    data: Any = SimpleNamespace(train=SimpleNamespace(x=x, flow=flow), input_scale=None, examples=x[:16])
    if flow is not None and min(span) < -1:
        with pytest.raises(SpecError, match="brightness and contrast need the range of pictures"):
            augment.layers(None, {"augment.contrast": 0.1}, data)
        return
    x = x.astype(np.float32)
    for name in ("brightness", "contrast"):
        (layer,) = augment.layers(None, {f"augment.{name}": 1e-4}, data)
        np.testing.assert_allclose(layer(x, training=True), x, atol=1e-3 * (span[1] - span[0]))


def test_the_strength_of_an_augmentation_is_its_bound() -> None:
    """With a dial at s the layers do to pictures what stock layers built with s do."""
    from types import SimpleNamespace

    from hptune.training import runtime
    from hptune.training.models import augment

    keras = runtime.keras()
    x = np.random.default_rng(0).uniform(size=(20, 8, 8, 1)).astype(np.float32)
    data: Any = SimpleNamespace(train=SimpleNamespace(x=x, flow=None), input_scale=None, examples=x)
    for name in augment.STRENGTHS:
        (stock,) = augment.layers(None, {f"augment.{name}": 0.2}, data)
        (turned,) = augment.layers(None, {f"augment.{name}": 0.5}, data)
        for layer in (stock, turned):
            layer.generator = keras.random.SeedGenerator(3)
        (dial,) = augment.attach([turned]).values()
        dial.set(0.2)
        np.testing.assert_allclose(stock(x, training=True), turned(x, training=True), atol=1e-5, err_msg=name)
        assert np.abs(np.asarray(stock(x, training=True)) - x).max() > 0.01
        np.testing.assert_array_equal(turned(x, training=False), x)


@pytest.mark.usefixtures("fresh_modules")
def test_penalties_and_smoothing_reach_models_from_code(tmp_path: Path) -> None:
    extra = "training: {epochs: 4, regularization: {kernel: {l2: 0.5}, label_smoothing: 0.1}}"
    text = python("build").replace("training: {epochs: 4}", extra)
    values = {"units": 16, "rate": 0.1, "lr": 1e-2}
    heavy, plain = trained(tmp_path, text, values=values), trained(tmp_path, python("build"), values=values)
    assert heavy.curves["penalty"][0] > 0
    assert "penalty" not in plain.curves
    assert heavy.curves["val_loss"] != plain.curves["val_loss"]


def test_half_precision_is_refused_where_it_cannot_work(tmp_path: Path) -> None:
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("float16 works on this machine's GPU")
    one = worker(tmp_path, DIGITS + "execution: {precision: mixed_float16}\n")
    try:
        with pytest.raises(SpecError, match="needs a GPU") as error:
            one.run(Segment(0, {}, purpose="probe"))
        assert error.value.problems[0].path == ("execution", "precision")
    finally:
        runtime_module().config.set_dtype_policy("float32")


def runtime_module() -> Any:
    from hptune.training import runtime

    return runtime.keras()


def test_a_probe_that_may_train_tells_what_training_costs(tmp_path: Path) -> None:
    facts = trained(tmp_path, DIGITS, purpose="probe", values={}, to_epoch=1).facts
    assert 0 < facts["epoch_s"] <= facts["first_epoch_s"]
    assert facts["memory_mb"] > 50
    assert facts["parameters"] == 64 * 20 + 20 + 20 * 10 + 10
    assert not (tmp_path / "runs").exists()
    assert "epoch_s" not in trained(tmp_path, DIGITS, purpose="probe", values={}, to_epoch=0).facts


def test_smoothing_a_target_that_turns_out_to_be_a_number_is_told_with_its_place(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", x=generator.normal(size=(60, 8, 8, 1)), y=generator.normal(size=60))
    text = DIGITS.replace("{source: digits, limit: 300}", "{npz: d.npz}").replace(
        "units: 10, activation: softmax", "units: 1"
    )
    smooth = text.replace("epochs: 4", "epochs: 4, regularization: {label_smoothing: 0.1}")
    with pytest.raises(SpecError, match="needs a cross-entropy loss") as error:
        trained(tmp_path, smooth, purpose="probe", values={})
    assert error.value.problems[0].path == ("training", "regularization", "label_smoothing")


def test_one_softmax_for_two_classes_is_told_before_the_first_trial(tmp_path: Path) -> None:
    text = """
    version: 1
    name: t
    data: {source: breast_cancer}
    model: {layers: [Dense: {units: $units}, Dense: {units: 1, activation: %s}]}
    search_space: {units: {type: int, min: 8, max: 32}}
    """
    with pytest.raises(SpecError, match=r"units: 1, activation: sigmoid.*units: 2, activation: softmax"):
        trained(tmp_path, text % "softmax", purpose="probe", values={})
    assert trained(tmp_path, text % "sigmoid", purpose="probe", values={}).facts["task"] == "classes"


def test_an_error_inside_a_graph_is_told_by_what_it_says() -> None:
    from hptune.training import runtime
    from hptune.training.reasons import reason

    runtime.start()
    import tensorflow as tf

    @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def fail(x: Any) -> Any:
        with tf.control_dependencies([tf.debugging.assert_positive(x, "all must be above 0")]):
            return x + 1

    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        fail(tf.constant([-1.0]))
    assert "all must be above 0" in reason(error.value)
    assert reason(ValueError("first\nsecond")) == "ValueError: first"
    assert reason(KeyError()) == "KeyError"


@pytest.mark.usefixtures("fresh_modules")
def test_what_a_fit_of_its_own_would_ignore_is_refused(tmp_path: Path) -> None:
    text = python("Mine").replace("epochs: 4", "epochs: 4, early_stopping: {patience: 2}") + LOTTERY
    with pytest.raises(SpecError, match="has no effect") as error:
        worker(tmp_path, text).run(Segment(0, {}, purpose="probe"))
    paths = [problem.path for problem in error.value.problems]
    assert paths == [("initialization", "stabilize"), ("training", "early_stopping")]
