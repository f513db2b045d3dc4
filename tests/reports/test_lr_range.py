"""The range test: what is suggested for losses whose usable range is known, and the command with real training."""

from __future__ import annotations

import importlib.util
import math
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hptune import __main__ as main
from hptune.base.errors import SpecError
from hptune.experiment.reading.load import from_json
from hptune.reports.lr_range import can_draw, range_lines, smoothed, suggest, write_png

STEPS = 240
RATES = [1e-7 * 10 ** (8 * step / (STEPS - 1)) for step in range(STEPS)]


def losses(*, falls_at: float, lowest_at: float, noise: float = 0.02, seed: int = 0) -> list[float]:
    """Flat at 2.3 up to `falls_at`, falling in log(rate) to 0.5 at `lowest_at`, and rising steeply beyond."""
    rng = random.Random(seed)
    found = []
    for rate in RATES:
        share = (math.log(rate) - math.log(falls_at)) / (math.log(lowest_at) - math.log(falls_at))
        loss = 2.3 - 1.8 * min(max(share, 0.0), 1.0) + (8.0 * (share - 1) if share > 1 else 0.0)
        found.append(loss + rng.gauss(0, noise))
    return found


@given(begin=st.floats(-5.5, -2.0), decades=st.floats(0.8, 2.5), seed=st.integers(0, 100))
def test_the_range_lies_where_the_loss_falls(begin: float, decades: float, seed: int) -> None:
    falls_at, lowest_at = 10**begin, 10 ** (begin + decades)
    found = suggest(RATES, losses(falls_at=falls_at, lowest_at=lowest_at, seed=seed))
    assert found is not None
    assert falls_at / 2 <= found.min
    assert found.max <= lowest_at, "a safe distance from where it diverges"
    assert found.max >= lowest_at / 5, "not so safe that the best rates are left out"
    assert found.max / found.min >= 3


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.5])
def test_a_loss_that_never_fell_gives_hardly_ever_a_range(noise: float) -> None:
    """Of noise alone one in a hundred may look as if it fell; of a short piece of it, three."""
    found = [0, 0, 0]
    for seed in range(500):
        rng = random.Random(seed)
        flat = [2.3 + rng.gauss(0, noise) for _ in RATES]
        rising = [loss + step / 10 for step, loss in enumerate(flat)]
        diverged = [*flat[:100], *[math.nan] * 140]
        for kind, losses_ in enumerate((flat, rising, diverged)):
            found[kind] += suggest(RATES, losses_) is not None
    assert found[0] <= 5
    assert found[1] == 0
    assert found[2] <= 15


def test_what_diverges_ends_the_range() -> None:
    curve = losses(falls_at=1e-4, lowest_at=1e-1)
    at = next(step for step, rate in enumerate(RATES) if rate > 1e-2)
    found = suggest(RATES, [*curve[:at], *[math.inf] * (STEPS - at)])
    assert found is not None
    assert found.max <= 1e-2


@pytest.mark.parametrize("few", [[], [1.0], [1.0, 0.5], [math.nan] * 9])
def test_too_few_steps_suggest_nothing(few: list[float]) -> None:
    assert suggest(RATES[: len(few)], few) is None


def test_the_average_is_that_of_the_steps_so_far() -> None:
    assert smoothed([1.0]) == pytest.approx([1.0])
    assert smoothed([1.0, 3.0])[1] == pytest.approx((0.09 * 1.0 + 0.1 * 3.0) / 0.19)


# --- drawn ------------------------------------------------------------------------------------------------------------


def spec(**training: Any) -> Any:
    return from_json({"version": 1, "name": "a", "model": {"layers": ["Flatten"]}, "training": training})


def told(curve: list[float]) -> dict[str, Any]:
    found = suggest(RATES, curve)
    return {
        "rates": RATES,
        "losses": curve,
        "suggestion": None if found is None else {"min": found.min, "max": found.max},
    }


def test_the_lines_can_be_pasted() -> None:
    data = told(losses(falls_at=1e-5, lowest_at=1e-2))
    text = "\n".join(range_lines(data, spec(optimizer={"name": "sgd", "learning_rate": "$lr"})))
    pasted = yaml.safe_load(text[text.index("search_space:") :])
    assert set(pasted["search_space"]) == {"lr"}
    assert float(pasted["search_space"]["lr"]["max"]) == data["suggestion"]["max"]
    text = "\n".join(range_lines(data, spec(optimizer={"name": "sgd", "learning_rate": 0.1})))
    pasted = yaml.safe_load(text[text.index("search_space:") :])
    assert pasted["training"] == {"optimizer": {"name": "sgd", "learning_rate": "$learning_rate"}}


def test_a_loss_that_never_fell_is_said() -> None:
    assert "never fell" in "\n".join(range_lines(told([2.3] * STEPS), spec()))


@pytest.mark.parametrize("end", [3.0, math.inf, 1e30])
def test_a_picture_of_any_loss(tmp_path: Path, end: float) -> None:
    data = told([*losses(falls_at=1e-5, lowest_at=1e-2)[:-20], *[end] * 20])
    write_png(data, tmp_path / "new" / "a.png")
    assert (tmp_path / "new" / "a.png").read_bytes().startswith(b"\x89PNG")
    assert len({len(line) for line in range_lines(data, spec()) if line.endswith("|")}) == 1


def test_no_matplotlib_is_told_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert can_draw(asked=False) is False
    with pytest.raises(SpecError, match=r"pip install 'hptune\[plots\]'"):
        can_draw(asked=True)


# --- the command ------------------------------------------------------------------------------------------------------

YAML = """\
version: 1
name: range
data: {source: iris}
model: {layers: [Dense: {units: $units, activation: relu}, Dense: {units: 3, activation: softmax}]}
search_space: {units: {type: int, min: 8, max: 16}}
training: {batch_size: 16}
execution: {executor: inline}
"""


def test_lr_range_on_real_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("spec.yaml").write_text(YAML)
    assert main.run(["lr-range", "spec.yaml", "--json"]) == 0
    out, err = capsys.readouterr()
    data = yaml.safe_load(out)
    assert set(data) == {"rates", "losses", "suggestion"}
    assert len(data["rates"]) == len(data["losses"]) >= 200
    assert 1e-5 < data["suggestion"]["min"] < data["suggestion"]["max"] < 1.0
    assert "range-lr-range.png" in err
    assert {path.name for path in tmp_path.iterdir()} == {"spec.yaml", "range-lr-range.png"}, "no run is left behind"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ('{function: "some:f"}\nobjective: {metric: score, goal: maximize}', "function"),
        ('{python: "some:f"}', "optimizer"),
    ],
)
def test_a_recipe_without_a_rate_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str, words: str
) -> None:
    text = "version: 1\nname: a\n" + f"model: {model}\nsearch_space: {{x: {{type: int, min: 1, max: 2}}}}\n"
    text += "" if "function" in model else "data: {source: iris}\n"
    (tmp_path / "spec.yaml").write_text(text)
    assert main.run(["lr-range", str(tmp_path / "spec.yaml")]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert "spec.yaml:" in err
