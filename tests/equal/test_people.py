"""People's own code beside the plain program; a few builders in every run, all of them in `make equal`."""

from __future__ import annotations

from pathlib import Path

import pytest

USUAL = ("shared_base",)
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


@pytest.mark.slow
def test_where_the_description_says_too_little_the_results_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Break one rule: what a closure holds counts for nothing. The look before each point must find it."""
    from hptune.training.models import from_model
    from hptune.training.own import sameness

    from . import people

    people.write(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(from_model, "of_own_parts", lambda _: [])
    monkeypatch.setattr(sameness, "_function", lambda function, _: function.__name__)
    for name in ("activation_closure", "closure_loss"):
        assert not people.differences(tmp_path, name)
    from hptune.training.trainers import programs

    monkeypatch.setattr(programs, "apart", lambda *_: None)
    assert people.differences(tmp_path, "activation_closure"), "then the second trial is the first one's"
