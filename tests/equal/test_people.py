"""People's own code beside the plain program; a few builders in every run, all of them in `make equal`."""

from __future__ import annotations

from pathlib import Path

import pytest

USUAL = ("closure_loss", "normalization", "shared_base", "own_train_step")
"""Trained in every test run."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        from .people import POINTS

        marks = {name: [] if name in USUAL else [pytest.mark.slow] for name in POINTS}
        metafunc.parametrize("name", [pytest.param(name, marks=marks[name]) for name in POINTS])


def test_own_code_trains_as_its_plain_fit(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from . import people

    people.write(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    found = people.differences(tmp_path, name)
    assert not found, "\n".join(map(str, found))
