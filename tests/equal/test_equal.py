"""The compiled way of training against stock `keras.Model.fit`: a sample of the walk; all of it under `-m slow`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

BOTH_WAYS = (
    "optimizers/SGD/momentum",
    "nested layers/TimeDistributed/Dense.kernel_regularizer",
    "recipe/sparse_categorical_crossentropy/label_smoothing, by its name, weighted",
)
"""Trained forwards and backwards in every test run: trials that share a program."""

ONCE = (
    "optimizers/Adam/(defaults)",
    "layers/LSTM/(defaults)",
    "metrics/F1Score/(defaults)",
    "targets/OWN:squared/standardised, 1",
    "outputs/two/loss_weights",
    "streams/tf.data/weighted",
)
"""Trained once in every test run: each a different part of the core."""

WRONG = ("differs", "trains", "fails")


def pytest_generate_tests(metafunc: Any) -> None:
    """The whole walk is listed only where it is asked for: to list it, layers are built."""
    if "group" not in metafunc.fixturenames:
        return
    expression = metafunc.config.option.markexpr
    if "slow" not in expression or "not slow" in expression:
        metafunc.parametrize("group", [pytest.param((), id="not asked for")])
        return
    from . import walk
    from .areas import AREAS

    groups: dict[str, list[str]] = {}
    for area in AREAS:
        for key in walk.cases(area):
            groups.setdefault(key.rsplit("/", 1)[0], []).append(key)
    metafunc.parametrize("group", [pytest.param(tuple(keys), id=name) for name, keys in groups.items()])


@pytest.mark.parametrize("key", [*BOTH_WAYS, *ONCE])
def test_trains_as_fit_does(key: str, tmp_path: Path) -> None:
    """In a fresh program, and some as the next trial of another's program, both ways round."""
    from . import compare, table, walk

    results = list(compare.compared(walk.cases(key.split("/")[0])[key], tmp_path, quick=key in ONCE))
    wrong = [result for result in results if result.status in WRONG]
    assert results
    assert not wrong, "\n".join(table.findings(wrong))


@pytest.mark.slow
def test_everything_trains_as_fit_does(group: tuple[str, ...]) -> None:
    """Every option of a class, in a process of its own."""
    from . import table, walk

    results = [result for _, some in walk.walked(group, processes=1) for result in some]
    unknown = [result.message for result in results if result.status in ("no input known", "not comparable")]
    wrong = [result for result in results if result.status in WRONG]
    assert not wrong, "\n".join(table.findings(wrong))
    if unknown:
        pytest.skip(unknown[0])


def test_every_class_of_the_tables_is_walked_or_named() -> None:
    """A class that Keras gains is in the walk by itself: through the tables, or at least as a row without an input."""
    from . import tables, walk

    for kind in ("optimizers", "losses", "metrics", "initializers", "regularizers"):
        walked = {key.split("/")[1] for key in walk.cases(kind)}
        assert set(tables.classes(kind)) <= walked
        assert {name for name in tables.other_names(kind) if name not in ("all",)} - walked <= _short_of(kind)
    from .of_layers import PART_OF_OTHERS, REFUSED

    walked = {key.split("/")[1] for area in ("layers", "nested layers") for key in walk.cases(area)}
    assert set(tables.classes("layers")) - set(REFUSED) - set(PART_OF_OTHERS) <= walked


def _short_of(kind: str) -> set[str]:
    """Optimizers' short names, which their classes are walked by."""
    from . import tables

    return {name.lower() for name in tables.classes(kind)} | {
        n for n in tables.other_names(kind) if kind == "optimizers"
    }


def test_a_difference_is_seen(tmp_path: Path) -> None:
    """The comparison itself: what trains otherwise is told, in curves, weights and slots."""
    from dataclasses import replace

    from . import compare, plain, walk
    from .case import Missing

    case = walk.cases("optimizers")["optimizers/SGD/nesterov"]
    assert not isinstance(case, Missing)
    of, paths = compare.worker(case, tmp_path, "run", case.points)
    trial = compare.trained(case, of, paths, 0, case.points[0])
    other = compare.trained(case, of, paths, 1, case.points[1])
    theirs = compare._plainly(case, case.points[0], trial)
    assert isinstance(theirs, plain.Told)
    assert compare.apart(case, trial, theirs)[0] <= case.tolerance
    assert compare.apart(case, replace(trial, after=other.after), theirs)[0] > case.tolerance
    assert compare.apart(case, replace(trial, curves=other.curves), theirs)[0] > case.tolerance
