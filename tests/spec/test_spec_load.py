"""Every fault in a YAML is told with its line and column, its key path, the rule and the remedy; all at once."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hptune.base.errors import Problem, SpecError
from hptune.experiment.reading.load import MOST_BYTES, load
from hptune.experiment.space.space import Space

GOOD = """\
version: 1
name: acc
seed: 0
data: {source: digits, validation: 0.2, test: 0.2}
model:
  layers:
    - Flatten
    - Dense: {units: $units, activation: relu}
    - Dropout: {rate: $dropout}
    - Dense: {units: 10, activation: softmax}
search_space:
  units: {type: int, min: 32, max: 128, step: 32}
  dropout: {type: float, min: 0.0, max: 0.5}
  learning_rate: {type: float, min: 1e-4, max: 1e-1, log: true}
  batch_size: {type: choice, values: [32, 64]}
training:
  optimizer: {name: adam, learning_rate: $learning_rate}
  batch_size: $batch_size
  epochs: 2
objective: {metric: val_accuracy, goal: maximize}
strategy: {name: random}
budget: {trials: 4}
execution: {workers: 1}
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def made(text: str, name: str = "spec.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return made


def problems(path: Path, *overrides: str) -> list[str]:
    """What is wrong with the file, as users see it, without the folder."""
    with pytest.raises(SpecError) as caught:
        load(path, overrides)
    return str(caught.value).replace(f"{path.parent}/", "").splitlines()


def test_the_experiment_itself_is_right(write: Write) -> None:
    loaded = load(write(GOOD))
    assert loaded.experiment.name == "acc"
    assert loaded.text == GOOD
    assert loaded.folder == loaded.source.parent


# (what is replaced, by what, line, column, words that the message must hold)
BAD = [
    # shapes and names
    ("name: random", "name: randm", 21, 18, ["strategy.name", "'random'"]),
    ("strategy: {name: random}", "strategy: {name: tpe, initial_points: 0}", 21, 39, ["at least 1", "got 0"]),
    ("strategy: {name: random}", "strategy: {name: random, beta: 2}", 21, 26, ["beta", "name"]),
    ("strategy: {name: random}", "strategy: random", 21, 11, ["section", "name: random"]),
    ("strategy: {name: random}", "strategy: {name: grid}", 13, 12, ["dropout is continuous", "step"]),
    ("goal: maximize", "goal: biggest", 20, 41, ["'maximize'", "'biggest'"]),
    ("goal: maximize", "direction: maximize", 20, 35, ["'direction'", "'goal'"]),
    (
        "objective: {metric: val_accuracy, goal: maximize}",
        "objective: [{metric: loss}]",
        20,
        12,
        ["at least two objectives"],
    ),
    ("metric: val_accuracy, goal: maximize", "metric: val_accurcy", 20, 12, ["goal"]),
    ("metric: val_accuracy", "metric: val_accurcy", 20, 21, ["'val_accuracy'"]),
    ("metric: val_accuracy", "metric: val_auc", 20, 21, ["not measured", "training.metrics"]),
    ("source: digits", "source: digitz", 4, 16, ["'digits'"]),
    ("source: digits", "sorce: digits", 4, 8, ["'source'"]),
    ("source: digits", "images: a", 4, 1, ["size", "required"]),
    ("source: digits", "source: digits, csv: a.csv", 4, 24, ["source and csv", "Keep one"]),
    ("source: digits, ", "", 4, 7, ["source, npz, csv"]),
    ("source: digits", "source: digits, augment: {flip: true}", 4, 40, ["'horizontal'", "true"]),
    ("validation: 0.2", "validation: 1.2", 4, 36, ["below 1", "1.2"]),
    ("validation: 0.2", "validation: 0.9", 4, 7, ["training part"]),
    ("validation: 0.2", "validation: '0.2'", 4, 36, ["a number", "'0.2'"]),
    ("budget: {trials: 4}", "budget: {trials: 0}", 22, 18, ["at least 1", "0"]),
    ("budget: {trials: 4}", "budget: {trials: true}", 22, 18, ["whole number", "true"]),
    ("budget: {trials: 4}", "budget: {trials: 4.5}", 22, 18, ["whole number", "4.5"]),
    ("budget: {trials: 4}", "budget: {time: 5 minutes}", 22, 16, ["10m", "5 minutes"]),
    ("workers: 1", "workers: many", 23, 22, ["'auto'", "whole number"]),
    ("seed: 0", "seed: -1", 3, 7, ["at least 0"]),
    ("version: 1", "version: 2", 1, 10, ["1", "2"]),
    ("version: 1\n", "", 1, 1, ["version", "required"]),
    ("name: acc", "name: a/b", 2, 7, ["letters", "a/b"]),
    ("search_space:", "serch_space:", 11, 1, ["'search_space'"]),
    ("search_space:", "parameters:", 11, 1, ["'search_space'"]),
    ("model:", "modle:", 5, 1, ["'model'"]),
    ("execution: {workers: 1}", "evaluation: {folds: 1}", 23, 21, ["at least 2", "1"]),
    # layers
    ("- Dense: {units: $units", "- Dens: {units: $units", 8, 7, ["'Dense'"]),
    ("activation: relu", "activaton: relu", 8, 30, ["'activation'", "of Dense"]),
    ("activation: relu", "activation: relo", 8, 42, ["'relu'"]),
    ("activation: relu", "use_bias: yes", 8, 40, ["true or false", "'yes'"]),
    ("activation: relu", "kernel_initializer: he_nrmal", 8, 50, ["'he_normal'"]),
    ("activation: relu", "kernel_regularizer: {L2: {l3: 1}}", 8, 56, ["'l3'", "l2"]),
    ("units: 10, activation: softmax", "activation: softmax", 10, 7, ["units", "needs"]),
    ("- Flatten", "- Dense", 7, 7, ["Dense", "units"]),
    ("- Flatten", "- Input: {shape: [3]}", 7, 7, ["Input", "from the data"]),
    ("- Flatten", "- Lambda: {function: f}", 7, 7, ["python"]),
    ("- Flatten", "- 3", 7, 7, ["name", "3"]),
    ("- Flatten", "- Dense: {units: 3}\n      activation: relu", 8, 7, ["activation", "indent"]),
    ("- Flatten", "- repeat: {layers: [Flatten]}", 7, 7, ["times", "required"]),
    ("- Flatten", "- repeat: {times: 1.5, layers: [Flatten]}", 7, 23, ["whole number"]),
    ("- Flatten", "- repeat: {times: 2, layers: [Flaten]}", 7, 35, ["'Flatten'"]),
    ("- Flatten", "- repeat: {times: $dropout, layers: [Flatten]}", 7, 23, ["$dropout", "whole number"]),
    ("- Flatten", "- TimeDistributed: {layer: {Dense: {unit: 3}}}", 7, 41, ["'units'"]),
    ("- Flatten", "- Bidirectional: {layer: LSTM}", 7, 23, ["units"]),
    ("layers:\n", "layrs:\n", 6, 3, ["'layers'"]),
    # the recipe
    ("name: adam", "name: adamm", 17, 21, ["'adam'"]),
    ("name: adam", "name: adam, momentum: 0.9", 17, 27, ["momentum", "adam"]),
    ("name: adam", "name: adam, beta_1: high", 17, 35, ["a number", "'high'"]),
    (
        "learning_rate: $learning_rate}",
        "learning_rate: $dropout, beta_1: $learning_rate}",
        17,
        42,
        ["above 0", "$dropout"],
    ),
    ("epochs: 2", "epochs: 2\n  loss: mean_squared_eror", 20, 9, ["'mean_squared_error'"]),
    ("epochs: 2", "epochs: 2\n  metrics: [accuracy, acuracy]", 20, 23, ["'accuracy'"]),
    ("epochs: 2", "epochs: 2\n  metrics: accuracy", 20, 12, ["a list"]),
    ("epochs: 2", "epochs: 2\n  metrics: [accuracy, {AUC: {curv: PR}}]", 20, 30, ["'curve'"]),
    ("epochs: 2", "epochs: 2\n  early_stopping: {monitor: val_los}", 20, 29, ["'val_loss'"]),
    ("epochs: 2", "epochs: 2\n  early_stopping: {monitor: val_mae, patience: 0}", 20, 48, ["at least 1"]),
    ("epochs: 2", "epochs: 2\n  regularization: {kernel: {l2: -1}}", 20, 33, ["at least 0", "-1"]),
    ("epochs: 2", "epochs: $dropout", 19, 11, ["at least 1", "$dropout"]),
    ("budget:", "schedule: {name: cosin}\nbudget:", 22, 18, ["'cosine'"]),
    ("budget:", "schedule: {name: ramp}\nbudget:", 22, 1, ["ramp needs epoch"]),
    ("budget:", "schedule: {alpha: 0.1}\nbudget:", 22, 12, ["constant has no alpha", "cosine"]),
    ("budget:", "schedule: {name: cosine, warmup: {epochs: 25}}\nbudget:", 22, 43, ["< training.epochs (2)", "25"]),
    ("budget:", "schedule: {warmup: {start: 0}}\nbudget:", 22, 12, ["epochs", "required"]),
    ("budget:", "initialization: {kernel: he_norml}\nbudget:", 22, 26, ["'he_normal'"]),
    # the space
    ("max: 0.5", "max: -0.5", 13, 12, ["min", "-0.5"]),
    ("{type: float, min: 0.0, max: 0.5}", "{type: float, low: 0.0, high: 0.5}", 13, 26, ["'low'", "'min'"]),
    ("{type: float, min: 0.0, max: 0.5}", "{type: float, min: 0.0, max: 0.5, log: true}", 13, 12, ["log", "above 0"]),
    ("{type: float, min: 0.0, max: 0.5}", "{type: float, min: 0.0, max: .inf}", 13, 41, ["finite"]),
    ("{type: float, min: 0.0, max: 0.5}", "{type: float, min: 0.0, max: 0.5, step: 0}", 13, 12, ["step", "above 0"]),
    ("{type: float, min: 0.0, max: 0.5}", "{type: float, min: 0, max: 1, step: 1e-9}", 13, 12, ["step", "larger"]),
    ("{type: float, min: 0.0, max: 0.5}", "{type: float, min: 1, max: 2, step: 5e-324}", 13, 12, ["step", "larger"]),
    ("{type: float, min: 0.0, max: 0.5}", "{type: float, min: -1e308, max: 1e308, step: 1}", 13, 12, ["larger"]),
    ("{type: float, min: 0.0, max: 0.5}", "{type: uniform, min: 0.0, max: 0.5}", 13, 19, ["float"]),
    ("{type: float, min: 0.0, max: 0.5}", "{type: flaot, min: 0.0, max: 0.5}", 13, 19, ["'float'"]),
    ("{type: float, min: 0.0, max: 0.5}", "{min: 0.0, max: 0.5}", 13, 3, ["type", "required"]),
    ("{type: float, min: 0.0, max: 0.5}", "{type: float, max: 0.5}", 13, 3, ["min", "required"]),
    ("{type: float, min: 0.0, max: 0.5}", "0.5", 13, 12, ["type: float"]),
    ("max: 0.5}", "max: 0.5, default: 0.6}", 13, 12, ["default 0.6"]),
    ("log: true", "sampling: log", 14, 54, ["'log: true'"]),
    ("type: choice, values: [32, 64]", "type: choice, values: []", 15, 38, ["values", "at least 1"]),
    ("type: choice, values: [32, 64]", "type: choice, values: [32, 32]", 15, 38, ["twice"]),
    ("type: choice, values: [32, 64]", "type: choice, choices: [32, 64]", 15, 30, ["'values'"]),
    ("type: choice, values: [32, 64]", "type: choice, values: [32, big]", 18, 15, ["whole number", "'big'"]),
    ("type: choice, values: [32, 64]", "type: int, min: 0, max: 64", 18, 15, ["at least 1", "$batch_size"]),
    ("max: 0.5}", "max: 0.5, when: {unitz: 32}}", 13, 53, ["'units'"]),
    ("max: 0.5}", "max: 0.5, when: {units: 33}}", 13, 60, ["33", "32 to 128"]),
    ("max: 0.5}", "max: 0.5, when: {learning_rate: 0.1}}", 13, 68, ["continuous"]),
    ("max: 0.5}", "max: 0.5, when: {batch_size: []}}", 13, 65, ["at least one"]),
    # references
    ("units: $units", "units: $unitz", 8, 22, ["'unitz'", "'units'"]),
    ("units: $units", "units: 32", 12, 3, ["never used"]),
    ("units: $units", "units: $5", 8, 22, ["$$5"]),
    ("budget: {trials: 4}", "budget: {trials: $units}", 22, 18, ["$units", "can't stand here"]),
    # points
    ("budget:", "enqueue: [{units: 33}]\nbudget:", 22, 19, ["33", "32 to 128"]),
    ("budget:", "enqueue: [{unit: 32}]\nbudget:", 22, 12, ["'units'"]),
    ("budget:", "enqueue: {units: 32}\nbudget:", 22, 10, ["list"]),
    ("budget:", "baseline: {dropout: 0.9}\nbudget:", 22, 21, ["0.9", "0.0 to 0.5"]),
    # YAML itself
    ("seed: 0", "seed: !!python/object/apply:os.system ['touch pwned']", 3, 7, ["tag"]),
    ("seed: 0", "seed: !!int 0", 3, 7, ["tag"]),
    ("epochs: 2", "epochs: 2\n  epochs: 3", 20, 3, ["twice", "line 19"]),
    ("seed: 0", "1: 0", 3, 1, ["text", "quotes"]),
    ("seed: 0", "seed: *zero", 3, 7, ["anchor"]),
    ("seed: 0", "seed: &zero [*zero]", 3, 7, ["inside its own anchor"]),
    ("seed: 0", "<<: 3", 3, 5, ["<<"]),
]


@pytest.mark.parametrize(("old", "new", "line", "column", "words"), BAD, ids=[f"{b[1]!r}"[:60] for b in BAD])
def test_a_fault_is_told_at_its_place(
    write: Write, old: str, new: str, line: int, column: int, words: list[str]
) -> None:
    assert old in GOOD
    told = problems(write(GOOD.replace(old, new, 1)))
    here = [text for text in told if text.startswith(f"spec.yaml:{line}:{column}: ")]
    assert here, told
    assert all(word in here[0] for word in words), here[0]


def test_every_problem_is_one_line_that_ends_a_sentence(write: Write) -> None:
    for old, new, *_ in BAD:
        for text in problems(write(GOOD.replace(old, new, 1))):
            assert text.startswith("spec.yaml:"), text
            assert text.endswith((".", "?")), text


@pytest.mark.parametrize(("rule", "words"), [("meen", ", got 'meen'"), ("{age: meen}", " for 'age', got 'meen'")])
def test_a_rule_for_missing_values_that_is_none(write: Write, rule: str, words: str) -> None:
    path = write(GOOD.replace("source: digits", f"csv: t.csv, target: y, missing: {rule}"))
    assert problems(path) == [f"spec.yaml:4:7: data: missing must be one of drop, mean, median, most_frequent{words}."]


def test_all_problems_at_once_in_the_order_of_the_lines(write: Write) -> None:
    text = GOOD
    for old, new in [
        ("seed: 0", "seed: -1"),
        ("- Flatten", "- Flaten"),
        ("max: 0.5", "max: -0.5"),
        ("epochs: 2", "epochs: 2\n  epochs: 3"),
        ("goal: maximize", "goal: biggest"),
        ("trials: 4", "trials: 0"),
    ]:
        text = text.replace(old, new, 1)
    assert [int(told.split(":")[1]) for told in problems(write(text))] == [3, 7, 13, 20, 21, 23]


def test_a_faulty_domain_hides_nothing_and_is_told_once(write: Write) -> None:
    told = problems(write(GOOD.replace("max: 0.5", "max: -0.5")))
    assert len(told) == 1, told


def test_a_key_of_another_tool_is_not_told_as_missing_too(write: Write) -> None:
    told = problems(write(GOOD.replace("min: 0.0, max: 0.5", "low: 0.0, high: 0.5")))
    assert [text.split(": ", 2)[1] for text in told] == ["search_space.dropout.low", "search_space.dropout.high"]


MOMENTUM = (
    GOOD.replace("name: adam,", "name: $optimizer, momentum: $momentum,")
    .replace("search_space:", "search_space:\n  optimizer: {type: choice, values: [adam, sgd, rmsprop]}")
    .replace("  dropout: {", "  momentum: {type: float, min: 0.0, max: 0.9WHEN}\n  dropout: {")
)


def test_an_argument_must_be_one_that_every_value_has(write: Write) -> None:
    told = problems(write(MOMENTUM.replace("WHEN", "")))
    assert told[0].startswith("spec.yaml:19:33: training.optimizer.momentum: adam has no momentum")
    assert "when: {optimizer: [sgd, rmsprop]}" in told[0]
    assert problems(write(MOMENTUM.replace("WHEN", ", when: {optimizer: [sgd, adam]}")))
    load(write(MOMENTUM.replace("WHEN", ", when: {optimizer: [sgd, rmsprop]}")))
    load(write(MOMENTUM.replace("WHEN", ", when: {optimizer: sgd}")))


def test_conditions_of_conditions_count(write: Write) -> None:
    nested = MOMENTUM.replace("WHEN", ", when: {heavy: true}")
    nested = nested.replace(
        "  dropout: {", "  heavy: {type: choice, values: [true, false], when: {optimizer: sgd}}\n  dropout: {", 1
    )
    load(write(nested))
    assert (
        "adam has no momentum" in problems(write(nested.replace("when: {optimizer: sgd}", "when: {batch_size: 32}")))[0]
    )


def test_a_fixed_argument_that_one_optimizer_lacks(write: Write) -> None:
    told = problems(
        write(MOMENTUM.replace("WHEN", "").replace("$momentum", "0.9").replace("rate: $dropout", "rate: $momentum"))
    )
    assert any("adam has no momentum" in text for text in told)


def test_a_required_argument_must_be_there_under_every_condition(write: Write) -> None:
    conditional = GOOD.replace("max: 128, step: 32", "max: 128, step: 32, when: {batch_size: 32}")
    told = problems(write(conditional))
    assert told == [
        "spec.yaml:8:22: model.layers[1].Dense.units: is required, and $units is active only where batch_size is 32. "
        "Take its condition away, or give a number here."
    ]
    # a condition that always holds takes nothing away
    load(write(conditional.replace("when: {batch_size: 32}", "when: {batch_size: [32, 64]}")))


def test_a_conditional_name_stands_only_as_the_value_of_a_key(write: Write) -> None:
    text = GOOD.replace("- Flatten", "- Flatten\n    - Conv2D: {filters: 3, kernel_size: [$size, 3]}")
    text = text.replace("search_space:", "search_space:\n  size: {type: int, min: 1, max: 3, when: {batch_size: 32}}")
    told = problems(write(text))
    assert told[0].startswith("spec.yaml:8:42: model.layers[1].Conv2D.kernel_size[0]: $size is active only under")
    load(write(text.replace(", when: {batch_size: 32}", "")))


def test_conditions_in_a_circle(write: Write) -> None:
    text = GOOD.replace("step: 32", "step: 32, when: {batch_size: 32}").replace(
        "values: [32, 64]", "values: [32, 64], when: {units: 32}"
    )
    told = problems(write(text))
    assert len(told) == 1, told
    assert "units → batch_size → units" in told[0]


def test_conditions_that_exclude_each_other(write: Write) -> None:
    text = GOOD.replace("max: 0.5}", "max: 0.5, when: {batch_size: 64, units: 32}}").replace(
        "step: 32", "step: 32, when: {batch_size: 32}"
    )
    assert any("can't all hold" in told for told in problems(write(text)))


def test_inactive_names_in_points(write: Write) -> None:
    text = MOMENTUM.replace("WHEN", ", when: {optimizer: sgd}")
    assert "optimizer is 'sgd'" in problems(write(text + "enqueue: [{momentum: 0.5}]\n"))[0]
    assert "optimizer is 'sgd'" in problems(write(text + "baseline: {momentum: 0.5}\n"))[0]
    loaded = load(write(text + "enqueue: [{momentum: 0, optimizer: sgd}]\n"))
    assert loaded.experiment.enqueue == [{"momentum": 0.0, "optimizer": "sgd"}]
    assert type(loaded.experiment.enqueue[0]["momentum"]) is float


def test_hyperband_needs_one_number_of_epochs(write: Write) -> None:
    text = GOOD.replace("epochs: 2", "epochs: $batch_size").replace("name: random", "name: hyperband")
    assert "strategy.max_epochs" in problems(write(text))[0]
    load(write(text.replace("name: hyperband", "name: hyperband, max_epochs: 9")))


def test_a_function_needs_an_objective_and_no_data(write: Write) -> None:
    text = "version: 1\nmodel: {function: 'm:f'}\nsearch_space: {x: {type: int, min: 0, max: 7}}\n"
    assert "objective: {metric: score" in problems(write(text))[0]
    assert "goal" in problems(write(text + "objective: {metric: score}\n"))[0]
    assert load(write(text + "objective: {metric: score, goal: maximize}\n")).experiment.name == "spec"
    assert (
        "brings its own data"
        in problems(write(text + "objective: {metric: score, goal: maximize}\ndata: {source: iris}\n"))[0]
    )


def test_a_python_model_declares_its_own_space(write: Write) -> None:
    text = "version: 1\ndata: {source: digits}\nmodel: {python: 'm:build'}\nenqueue: [{units: 3}]\n"
    assert load(write(text)).experiment.search_space == {}
    assert "module:name" in problems(write(text.replace("m:build", "build")))[0]


def test_the_name_comes_from_the_file(write: Write) -> None:
    text = GOOD.replace("name: acc\n", "")
    assert load(write(text, "my digits (2).yaml")).experiment.name == "my-digits-2-"  # type: ignore[call-arg]
    assert "name: my-experiment" in problems(write(text, "___.yaml"))[0]  # type: ignore[call-arg]


def test_the_direction_is_known_from_the_table(write: Write) -> None:
    loaded = load(
        write(
            GOOD.replace(", goal: maximize", "").replace(
                "epochs: 2", "epochs: 2\n  early_stopping: {monitor: val_accuracy}"
            )
        )
    )
    (objective,) = loaded.experiment.objectives
    assert objective.goal == "maximize"
    assert loaded.experiment.training.early_stopping is not None
    assert loaded.experiment.training.early_stopping.goal == "maximize"


def test_merge_keys_and_anchors(write: Write) -> None:
    text = GOOD.replace("{units: $units, activation: relu}", "&dense {units: $units, activation: relu}")
    text = text.replace("    - Dropout", "    - Dense: {<<: *dense, units: 16}\n    - Dropout")
    assert load(write(text)).experiment.model.stack[2] == {"Dense": {"activation": "relu", "units": 16}}


def test_files_that_hold_no_experiment(write: Write, tmp_path: Path) -> None:
    assert "an empty file" in problems(write(""))[0]
    assert "got ['a']" in problems(write("- a\n"))[0]
    assert "is a folder" in problems(tmp_path)[0]
    assert f"at most {MOST_BYTES:,}" in problems(write("#" * (MOST_BYTES + 1)))[0]
    assert "second YAML document" in problems(write("a: 1\n---\nb: 2\n"))[0]
    write(GOOD)
    assert "did you mean 'spec.yaml'" in problems(tmp_path / "spce.yaml")[0]
    assert "nowhere.yaml" in problems(tmp_path / "nowhere.yaml")[0]
    (tmp_path / "latin.yaml").write_bytes(b"version: 1\nname: caf\xe9\n")
    assert problems(tmp_path / "latin.yaml")[0].startswith("latin.yaml:2:10: is not UTF-8")
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load(tmp_path / "bom.yaml").experiment.name == "acc"


def test_the_file_is_spelled_as_it_was_given(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(GOOD.replace("seed: 0", "seed: x")).parent)
    with pytest.raises(SpecError, match=r"^spec\.yaml:3:7: seed: "):
        load(Path("spec.yaml"))


def test_later_problems_are_placed_in_the_file(write: Write) -> None:
    loaded = load(write(GOOD))
    placed = [
        loaded.locate(problem).place
        for problem in (
            Problem("m", ("data", "source")),
            Problem("m", ("data", "csv")),
            Problem("m", ("data", "source"), on_key=True),
            Problem("m", ("training", "loss")),
            Problem("m", ("nothing",)),
            Problem("m", place="data.csv:3"),
        )
    ]
    spec = str(loaded.source)
    assert placed == [f"{spec}:4:16", f"{spec}:4:1", f"{spec}:4:8", f"{spec}:16:1", f"{spec}:1:1", "data.csv:3"]


# --- overrides ------------------------------------------------------------------------------------------------------


def test_overrides_change_add_and_make_sections(write: Write) -> None:
    given = ["budget.trials=7", "training.optimizer.beta_1=8e-1", "schedule.name=cosine", "enqueue.0.units=64"]
    experiment = load(
        write(GOOD), [*given, "enqueue.0.dropout=0.1", "enqueue.1={units: 32}", "model.layers.0=Flatten"]
    ).experiment
    assert experiment.budget.trials == 7
    assert experiment.training.optimizer.model_extra == {"beta_1": 0.8}
    assert experiment.schedule.name == "cosine"
    assert experiment.enqueue == [{"units": 64, "dropout": 0.1}, {"units": 32}]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("budget.trials=0", ["budget.trials: must be at least 1"]),
        ("budget.trails=3", ["'trials'"]),
        ("budget={trials: 3, tim: 1s}", ["budget.tim", "'time'"]),
        ("budget.trials", ["path.to.key=value"]),
        ("=3", ["path.to.key=value"]),
        ("seed.a=3", ["no section"]),
        ("enqueue.3.units=32", ["enqueue[3]", "Give 0 to 0"]),
        ("budget.trials=[", ["not valid YAML"]),
        ("budget.trials=!!int 3", ["tag"]),
    ],
)
def test_a_wrong_override_is_told_as_it_was_typed(write: Write, override: str, words: list[str]) -> None:
    text = GOOD + ("enqueue: []\n" if "enqueue" in override else "")
    told = problems(write(text), override)
    assert len(told) == 1, told
    assert told[0].startswith(f"--set {override}: "), told
    assert all(word in told[0] for word in words), told


def test_each_of_several_overrides_keeps_its_place(write: Write) -> None:
    told = problems(write(GOOD), "budget.trials=0", "seed=-1", "training.epochs=3")
    assert sorted(text.split(": ")[0] for text in told) == ["--set budget.trials=0", "--set seed=-1"]


def test_a_later_override_wins(write: Write) -> None:
    assert load(write(GOOD), ["budget.trials=0", "budget={trials: 9}"]).experiment.budget.trials == 9
    told = problems(write(GOOD), "budget.trials=9", "budget={trials: 0}")
    assert told == ["--set budget={trials: 0}: budget.trials: must be at least 1, got 0."]


# --- cost -----------------------------------------------------------------------------------------------------------


def test_loading_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pathlib import Path; from hptune.experiment.reading.load import load;"
        "load(Path('configs/digits.yaml'));"
        "print([m for m in sys.modules if m.split('.')[0] in"
        " {'tensorflow', 'keras', 'keras_tuner', 'numpy', 'sklearn', 'optuna', 'pandas', 'rich', 'typer'}])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("times: 2", "times: 1001", "model.layers[0].repeat.times: must be a whole number from 0 to 1000, got 1001"),
        ("times: 2", "times: .nan", "must be a whole number from 0 to 1000, got .*"),
        ("times: 2", "times: .inf", "must be a whole number from 0 to 1000, got .*"),
        ("times: 2, layers: [", "times: 1000, layers: [repeat: {times: 20, layers: [Flatten]}, ", "got up to 21,001"),
        ("epochs: 2", "epochs: 100001", "training.epochs: must be at most 100000"),
        ("trials: 3", "trials: 1000001", "budget.trials: must be at most 1000000"),
        ("max: 9", "max: 9007199254740993", "must be at most 9007199254740992"),
    ],
)
def test_numbers_that_would_fill_memory_or_time_are_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = (
        "version: 1\ndata: {source: digits}\n"
        "model: {layers: [repeat: {times: 2, layers: [Flatten]}, Dense: {units: $units}]}\n"
        "search_space: {units: {type: int, min: 1, max: 9}}\ntraining: {epochs: 2}\nbudget: {trials: 3}\n"
    )
    path = tmp_path / "a.yaml"
    path.write_text(text)
    load(path)
    path.write_text(text.replace(old, new))
    with pytest.raises(SpecError) as refused:
        load(path)
    assert re.search(words if ".*" in words else re.escape(words), str(refused.value)), refused.value


TENTHS = """\
version: 1
name: one
model: {function: "nowhere:f"}
search_space:
  share: {type: float, min: 0, max: 1, step: 0.1, default: 0.30000000000000004}
  deep: {type: int, min: 1, max: 2, when: {share: [0.30000000000000004, 1]}}
objective: {metric: score, goal: minimize}
strategy: {name: grid}
enqueue: [{share: 0.7999999999999999}]
baseline: {share: 0.30000000000000004, deep: 2.0}
"""


def test_a_value_is_spelled_as_its_domain_does_wherever_it_stands(write: Write) -> None:
    """To the bit: 0.1 + 0.2 is not 0.3, and a condition on it would never hold."""
    experiment = load(write(TENTHS)).experiment
    share, deep = experiment.search_space["share"], experiment.search_space["deep"]
    assert (share.default, deep.when) == (0.3, {"share": [0.3, 1.0]})
    assert experiment.enqueue == [{"share": 0.8}]
    assert experiment.baseline == {"share": 0.3, "deep": 2}
    assert [type(v).__name__ for v in experiment.baseline.values()] == ["float", "int"]
    space = Space(experiment.search_space)
    assert space.defaults() == {"share": 0.3, "deep": 2}
    assert space.size == 9 + 2 * 2


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ("min: -1e308, max: 1e308", ["max - min", "1.8e+308", "between -8e307 and 8e307"]),
        ("min: 1e308, max: 1.5e308", ["max + min", "between -8e307 and 8e307"]),
        ("min: -1e308, max: 1e308, step: 1e306", ["max - min"]),
        ("min: 1e-300, max: 1e300, log: true", ["max / min", "Raise min"]),
        ("min: 1e-300, max: 1e300, log: reverse", ["max / min", "Raise min"]),
    ],
)
def test_a_range_beyond_floats_is_told_at_its_line(write: Write, ends: str, words: list[str]) -> None:
    (told,) = problems(write(GOOD.replace("min: 0.0, max: 0.5", ends)))
    assert told.startswith("spec.yaml:13:12: search_space.dropout: ")
    assert all(word in told for word in words), told


def test_steps_that_do_not_reach_max_are_remarked_upon(write: Write) -> None:
    assert load(write(GOOD)).remarks == []
    path = write(GOOD.replace("max: 128, step: 32", "max: 120, step: 32").replace("max: 0.5", "max: 0.5, step: 0.2"))
    units, dropout = load(path).remarks
    assert units.startswith(f"{path}:12:36: search_space.units.max: is never reached")
    assert "end at 96" in units
    assert "end at 0.4" in dropout


@pytest.mark.parametrize(
    ("strategy", "execution", "idle"),
    [
        ("tpe", "workers: 9", True),
        ("tpe", "workers: 4", False),
        ("tpe", "workers: 9, parallel: 9", False),
        ("tpe", "workers: 9, order: free", False),
        ("random", "workers: 9", False),
    ],
)
def test_workers_that_would_stay_idle_are_told(write: Write, strategy: str, execution: str, idle: bool) -> None:
    text = GOOD.replace("name: random", f"name: {strategy}").replace("workers: 1", execution)
    path = write(text)
    told = f"{path}:23:22: execution.workers: tpe has 4 trials under way at a time, so that 5 of 9 workers stay idle"
    found = load(path).remarks
    assert [remark[: len(told)] for remark in found] == [told] * idle
