"""What can't be meant in a recipe is told with its line and column, the rule and the way out; what can be, loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hptune.base.errors import SpecError
from hptune.experiment.checks import recipe as check_recipe
from hptune.experiment.experiment import Experiment
from hptune.experiment.keras_table import arguments
from hptune.experiment.reading.load import load

HEAD = """\
version: 1
name: recipe
data: {source: digits}
model: {layers: [Flatten, Dense: {units: $units, activation: softmax}]}
search_space:
  units: {type: choice, values: [10, 20]}
  plan: {type: choice, values: [constant, cosine, ramp, piecewise]}
  share: {type: float, min: 0.0, max: 0.5, when: {plan: cosine}}
  drop: {type: float, min: 5, max: 15, when: {plan: ramp}}
  rare: {type: float, min: 5, max: 15, when: {plan: ramp, units: 10}}
  late: {type: float, min: 5, max: 25, when: {plan: ramp}}
"""
UNUSED = "declared and never used"

Told = Callable[..., list[str]]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    """Everything that is told of HEAD with more sections below it (from line 12), but for unused parameters."""

    def made(more: str, data: str = "{source: digits}") -> list[str]:
        path = tmp_path / "r.yaml"
        path.write_text(HEAD.replace("{source: digits}", data) + more + "\n")
        try:
            load(path)
        except SpecError as error:
            lines = str(error).replace(f"{tmp_path}/", "").splitlines()
            return [line for line in lines if UNUSED not in line]
        return []

    return made


def schedule(inner: str) -> str:
    return f"schedule: {{{inner}}}"


def training(inner: str) -> str:
    return f"training: {{{inner}}}"


def start(inner: str) -> str:
    return f"initialization: {{{inner}}}"


BAD = [
    # (sections, the column in line 12, the key path, words that the message must hold)
    # options
    (schedule("name: ramp"), 1, "schedule.epoch", ["ramp needs epoch", "Add it"]),
    (schedule("name: exponential"), 1, "schedule.factor", ["needs factor"]),
    (schedule("name: time_decay"), 1, "schedule.decay", ["needs decay"]),
    (schedule("name: cosine_restarts"), 1, "schedule.cycles", ["needs cycles"]),
    (schedule("name: python"), 1, "schedule.python", ["needs python"]),
    (schedule("alpha: 0.1"), 12, "schedule.alpha", ["constant has no alpha", "cosine, cosine_restarts", "Drop it"]),
    (schedule("name: cosine, cycles: 3"), 26, "schedule.cycles", ["cosine has no cycles", "cosine_restarts"]),
    (schedule("name: cosine, python: 'm:f'"), 26, "schedule.python", ["the schedule is cosine", "Keep either"]),
    (schedule("python: 'm:f', alpha: 0.5"), 27, "schedule.alpha", ["python has no alpha"]),
    (schedule("python: m"), 20, "schedule.python", ["module:name"]),
    (schedule("name: [cosine]"), 18, "schedule.name", ["'cosine'"]),
    (schedule("name: null"), 18, "schedule.name", ["'cosine'", "null"]),
    # bounds
    (schedule("name: plateau, factor: 2"), 35, "schedule.factor", ["below 1", "lowers", "2"]),
    (schedule("name: plateau, monitor: val_los"), 36, "schedule.monitor", ["'val_loss'"]),
    (schedule("name: plateau, monitor: profit"), 11, "schedule", ["goal is required", "profit"]),
    (schedule("name: cosine_restarts, cycles: 0"), 43, "schedule.cycles", ["at least 1"]),
    (schedule("name: cosine_restarts, cycles: 2, decay: 0"), 53, "schedule.decay", ["above 0"]),
    (schedule("name: one_cycle, peak_at: 1.0"), 38, "schedule.peak_at", ["below 1"]),
    (schedule("name: one_cycle, peak_at: 0"), 38, "schedule.peak_at", ["above 0"]),
    (schedule("name: polynomial, power: 0"), 37, "schedule.power", ["above 0"]),
    (schedule("name: exponential, factor: 0"), 39, "schedule.factor", ["above 0"]),
    # epochs, of a training of 20
    (schedule("warmup: {epochs: 25}"), 29, "schedule.warmup.epochs", ["< training.epochs (20)", "25", "train longer"]),
    (schedule("name: ramp, epoch: 20"), 31, "schedule.epoch", ["< training.epochs (20)", "20", "Lower it"]),
    (schedule("name: ramp, epoch: never"), 31, "schedule.epoch", ["'auto'", "a number", "never"]),
    (
        schedule("name: piecewise, epochs: [6, 3], factors: [1, 1]"),
        41,
        "schedule.epochs[1]",
        ["must rise", "3 follows 6"],
    ),
    (schedule("name: piecewise, epochs: [3, 3], factors: [1, 1]"), 41, "schedule.epochs[1]", ["must rise"]),
    (schedule("name: piecewise, epochs: [3, 26], factors: [1, 1]"), 41, "schedule.epochs[1]", ["(20)", "26"]),
    (schedule("name: piecewise, epochs: [3, 6], factors: [1]"), 54, "schedule.factors", ["2 epochs", "got 1"]),
    (schedule("name: piecewise, epochs: [], factors: []"), 37, "schedule.epochs", ["at least 1"]),
    (schedule("name: piecewise, epochs: 3, factors: [1]"), 37, "schedule.epochs", ["a list"]),
    # $name
    (schedule("name: $plan"), 1, "schedule.epoch", ["$plan can be ramp", "needs epoch"]),
    (
        schedule("name: $plan, epoch: 5, epochs: [5], factors: [1]"),
        25,
        "schedule.epoch",
        ["constant has no epoch", "when: {plan: ramp}"],
    ),
    (schedule("name: $plan, epoch: $rare"), 32, "schedule.epoch", ["$rare is not active under every setting"]),
    (schedule("name: $plan, epoch: $late"), 32, "schedule.epoch", ["(20)", "25"]),
    # early stopping
    (training("early_stopping: {unit: cycle}"), 35, "training.early_stopping.unit", ["'cycles'"]),
    (training("early_stopping: {unit: cycles}"), 35, "training.early_stopping.unit", ["is constant", "Leave unit out"]),
    # regularisation
    (training("regularization: {kernel: {l3: 1}}"), 38, "training.regularization.kernel.l3", ["l1, l2"]),
    (training("regularization: {kernel: {l1: -1}}"), 42, "training.regularization.kernel.l1", ["at least 0"]),
    (training("regularization: {label_smoothing: 1}"), 46, "training.regularization.label_smoothing", ["below 1"]),
    (
        training("regularization: {label_smoothing: 0.1}, loss: mse"),
        29,
        "training.regularization.label_smoothing",
        ["training.loss is mse", "sparse_categorical_crossentropy"],
    ),
    (
        training("regularization: {label_smoothing: 0.1}, loss: {Huber: {delta: 1}}"),
        29,
        "training.regularization.label_smoothing",
        ["is Huber"],
    ),
    (
        training("regularization: {label_smoothing: 0.1}, loss: {BinaryCrossentropy: {label_smoothing: 0.1}}"),
        29,
        "training.regularization.label_smoothing",
        ["training.loss too", "Drop one"],
    ),
    # the optimizer
    (training("optimizer: {name: adam, momentum: 0.5}"), 36, "training.optimizer.momentum", ["adam has no", "sgd"]),
    (
        training("optimizer: {clipnorm: 1, clipvalue: 1}"),
        37,
        "training.optimizer.clipvalue",
        ["clipnorm and clipvalue", "Drop one"],
    ),
    # the weights to begin with
    (start("kernel: he_norml"), 26, "initialization.kernel", ["'he_normal'"]),
    (
        start("kernel: {TruncatedNormal: {stdev: 1}}"),
        45,
        "initialization.kernel.TruncatedNormal.stdev",
        ["'stddev'"],
    ),
    (start("stabilize: {method: lottery, draws: 1}"), 54, "initialization.stabilize.draws", ["at least 2", "got 1"]),
    (start("stabilize: {method: lotery}"), 38, "initialization.stabilize.method", ["'lottery'", "'lotery'"]),
    (start("stabilize: {draws: 3}"), 18, "initialization.stabilize.method", ["required"]),
    (start("stabilize: lottery"), 29, "initialization.stabilize", ["section"]),
    (start("stabilize: {method: warmup, draws: 3}"), 46, "initialization.stabilize.draws", ["start, end"]),
    (start("stabilize: {method: lottery, optimizer: adm}"), 58, "initialization.stabilize.optimizer", ["'adam'"]),
    (
        start("stabilize: {method: warmup, epochs: $units}"),
        54,
        "initialization.stabilize.epochs",
        ["$units can't stand here", "architecture alone"],
    ),
    (
        start("stabilize: {method: warmup, start: 1e-2}"),
        29,
        "initialization.stabilize",
        ["start must be below end", "0.01", "0.001"],
    ),
    # evaluation
    ("evaluation: {finalists: {repeats: 1}}", 35, "evaluation.finalists.repeats", ["at least 2"]),
]


@pytest.mark.parametrize(("more", "column", "path", "words"), BAD, ids=[f"{b[0]}"[:70] for b in BAD])
def test_what_can_not_be_meant_is_told_at_its_place(
    told: Told, more: str, column: int, path: str, words: list[str]
) -> None:
    lines = told(more)
    here = [line for line in lines if line.startswith(f"r.yaml:12:{column}: {path}: ")]
    assert here, lines
    assert all(word in here[0] for word in words), here[0]
    assert here[0].endswith((".", "?")), here[0]


@pytest.mark.parametrize(
    "more",
    [
        schedule("name: linear"),
        schedule("name: ramp, epoch: auto"),
        schedule("name: ramp, epoch: 19.5, factor: 2"),
        schedule("name: piecewise, epochs: [0.5, 6], factors: [0.5, 0]"),
        schedule("name: exponential, factor: 1.1"),
        schedule("name: plateau"),
        schedule("name: plateau, monitor: val_accuracy"),
        schedule("python: 'm:f', per: epoch, warmup: {epochs: 3}"),
        schedule("name: cosine, alpha: 0.5"),
        training("early_stopping: {unit: cycles}}\nschedule: {name: cosine_restarts, cycles: 2"),
        training("early_stopping: {unit: epochs}"),
        training("regularization: {kernel: {l1: 0, l2: 1e-4}, label_smoothing: 0.1}"),
        training("regularization: {label_smoothing: 0}, loss: mse"),
        training("regularization: {label_smoothing: 0.1}, loss: {BinaryCrossentropy: {from_logits: true}}"),
        training("optimizer: {weight_decay: 1e-4, clipnorm: 1, clipvalue: null}"),
        start("kernel: {TruncatedNormal: {stddev: 0.1}}, stabilize: {method: lottery, steps_per_epoch: null}"),
        start("stabilize: {method: warmup, epochs: 4, start: 1e-4, end: 1e-3, optimizer: sgd, batch_size: 16}"),
        "evaluation: {repeats: 2, finalists: {top: 2, repeats: 3}}",
    ],
)
def test_what_can_be_meant_loads(told: Told, more: str) -> None:
    assert told(more) == []


def test_options_of_one_of_several_schedules(told: Told) -> None:
    names = schedule("name: $plan, alpha: $share, epoch: $drop")
    assert [line.split(": ")[1] for line in told(names)] == ["schedule.epochs", "schedule.factors"]
    without = names.replace(", epoch: $drop", "")
    assert "schedule.epoch" in [line.split(": ")[1] for line in told(without)]


def test_clipping_rules_that_exclude_each_other(told: Told) -> None:
    both = training("optimizer: {clipnorm: $share, clipvalue: $drop}")
    assert told(both) == []
    assert "can't stand together" in told(both.replace("$drop", "$units"))[0]


@pytest.mark.parametrize(
    ("data", "refused"),
    [
        ("{source: digits, augment: {flip: both, zoom: 0.1}}", None),
        ("{npz: a.npz, augment: {zoom: 0.1}}", None),
        ("{source: iris}", None),
        ("{source: iris, augment: {zoom: 0.1}}", "r.yaml:3:22: data.augment: changes pictures at random, and iris is"),
        ("{csv: a.csv, target: y, augment: {zoom: 0.1}}", "r.yaml:3:31: data.augment: changes pictures at random"),
        ("{source: digits, augment: {zoom: 1.5}}", "r.yaml:3:40: data.augment.zoom: must be at most 1"),
        ("{source: digits, augment: {translate: $drop}}", "r.yaml:3:45: data.augment.translate: must be at most 1"),
        ("{source: digits, augment: {rotation: 0.1}}", "r.yaml:3:34: data.augment.rotation: unknown key 'rotation'"),
    ],
)
def test_only_pictures_are_augmented(told: Told, data: str, refused: str | None) -> None:
    lines = told("", data)
    assert (lines == []) if refused is None else lines[0].startswith(refused), lines


@pytest.mark.parametrize(
    ("data", "fits"),
    [
        ("{source: digits}", True),
        ("{source: diabetes}", False),
        ("{csv: a.csv, target: y}", True),  # may hold classes: told once the data is read
        ("{csv: a.csv, target: y, task: regression}", False),
        ("{source: digits, task: regression}", False),
    ],
)
def test_smoothing_where_the_loss_follows_from_the_data(told: Told, data: str, fits: bool) -> None:
    lines = told(training("regularization: {label_smoothing: 0.1}"), data)
    assert (lines == []) == fits, lines
    assert fits or "the data is a regression" in lines[0]


def test_weight_decay_where_an_optimizer_has_none(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every optimizer of this Keras has it; the check goes by the table of their arguments."""
    monkeypatch.setattr(
        check_recipe,
        "arguments",
        lambda kind, name: {k: v for k, v in arguments(kind, name).items() if (name, k) != ("sgd", "weight_decay")},
    )
    line = told(training("optimizer: {name: sgd, weight_decay: 0.1}"))[0]
    assert line.startswith("r.yaml:12:35: training.optimizer.weight_decay: sgd has no weight_decay, which belongs to ")
    assert "adamw" in line


def test_defaults_of_a_schedule_are_filled_in() -> None:
    def filled(**given: object) -> dict[str, object]:
        layers = {"layers": ["Flatten"]}
        made = Experiment.model_validate({"version": 1, "name": "a", "model": layers, "schedule": given})
        return made.schedule.model_dump(exclude_none=True)

    assert filled() == {"name": "constant"}
    assert filled(name="cosine") == {"name": "cosine", "alpha": 0.0}
    plateau = {"factor": 0.1, "patience": 3, "min": 0.0, "monitor": "val_loss", "goal": "minimize"}
    assert filled(name="plateau") == {"name": "plateau", **plateau}
    assert filled(name="plateau", monitor="val_accuracy")["goal"] == "maximize"
    assert filled(python="m:f") == {"name": "python", "python": "m:f", "per": "step"}
