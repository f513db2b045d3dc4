"""`hptune lr-range`: one training over rising rates, and the range of rates that it suggests.

The rate rises from one far too small to one far too large; the loss shows between which rates training works.
References: Smith 2017, arXiv:1506.01186.
"""

from __future__ import annotations

import importlib.util
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hptune.base.errors import RunError, spec_error
from hptune.base.trial import Segment, SegmentFailure
from hptune.executors.executor import Executor, run_one
from hptune.experiment.experiment import Experiment
from hptune.experiment.space.references import Ref
from hptune.reports.plan import curve
from hptune.reports.spelling import number
from hptune.run.record import filled, joined_space
from hptune.search.probing import probe

SMOOTHING = 0.9
"""How much of the moving average each step keeps."""

_BEFORE = 8
"""The first eighth of the steps stands for the loss before anything is learnt: its rates are too small to learn by."""

_FALLEN = 0.1
"""The range begins where a tenth of the whole fall has happened."""

_SAFETY = 4.0
"""The range ends at a quarter of the rate at which the loss is lowest: the average lags, and a whole training at a
rate that a few steps stood may still diverge."""

_NARROWEST = 3.0
_CLEAR = 6.0
"""A fall is clear where it exceeds this many standard deviations of the average's noise."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The rates that are worth searching, both included, rounded to two digits."""

    min: float
    max: float


def smoothed(losses: Sequence[float]) -> list[float]:
    """The exponential moving average, corrected for its bias towards 0, of the losses before the first that is not
    finite.

    >>> smoothed([2.0, 2.0, float("inf"), 2.0])
    [2.0, 2.0]
    """
    average, averages = 0.0, []
    for step, loss in enumerate(losses, start=1):
        if not math.isfinite(loss):
            break
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        averages.append(average / (1 - SMOOTHING**step))
    return averages


def suggest(rates: Sequence[float], losses: Sequence[float]) -> Suggestion | None:
    """The range of usable rates, at least a factor of 3 wide; None where the loss never fell clearly.

    rates: rising, one a step. losses: of the same steps. It begins where the smoothed loss has begun to fall and ends
    at a safe distance below the rate at which it is lowest (beyond which it diverges).
    """
    loss = smoothed(losses)
    before = losses[: len(loss) // _BEFORE]
    if len(before) < 2:
        return None
    level, lowest = statistics.fmean(before), min(loss[len(before) :])
    noise = statistics.stdev(before) * math.sqrt((1 - SMOOTHING) / (1 + SMOOTHING))
    fall = level - lowest
    if fall <= max(_CLEAR * noise, 0.01 * abs(level)):
        return None
    end = loss.index(lowest, len(before))
    begin = next(step for step in range(end, -1, -1) if step == 0 or loss[step - 1] > level - _FALLEN * fall)
    high = rates[end] / _SAFETY
    high = float(f"{high:.2g}")
    low = float(f"{min(rates[begin], high / _NARROWEST):.2g}")
    return Suggestion(low if high / low >= _NARROWEST else float(f"{0.95 * low:.2g}"), high)


# --- the test -------------------------------------------------------------------------------------------------------


def range_test(executor: Executor, experiment: Experiment) -> dict[str, Any]:
    """Train the default values once over rising rates: what `hptune lr-range --json` prints.

    Raises SpecError where the recipe has no rate to test, RunError where the training fails.
    """
    check_has_rate(experiment)
    facts = probe(executor)
    if facts.get("own_fit"):
        raise spec_error("trains by a fit of its own, whose rate can't be set. Drop its fit for the test.", "model")
    space = joined_space(filled(experiment, facts), facts)
    outcome = run_one(executor, Segment(0, space.defaults(), purpose="lr_range"))
    if isinstance(outcome, SegmentFailure):
        raise RunError(f"the rates can't be tried with the default values: {outcome.reason}")
    rates, losses = outcome.facts["rates"], outcome.facts["losses"]
    suggested = suggest(rates, losses)
    suggestion = None if suggested is None else {"min": suggested.min, "max": suggested.max}
    return {"rates": rates, "losses": losses, "suggestion": suggestion}


def check_has_rate(experiment: Experiment) -> None:
    """Raises SpecError where the learning rate is not the YAML's."""
    if not experiment.model.keras:
        called = experiment.model.called
        raise spec_error(f"{called} has no learning rate that lr-range could try. Give it a Keras model.", "model")
    if experiment.model.declares and "optimizer" not in experiment.training.model_fields_set:
        reason = "lr-range tries the rates of the YAML's optimizer, and the model's code brings its own. "
        raise spec_error(reason + "Add training: {optimizer: {name: adam, learning_rate: 1e-3}}.", "training")


# --- drawn ----------------------------------------------------------------------------------------------------------


def range_lines(result: Mapping[str, Any], experiment: Experiment) -> Iterator[str]:
    """The loss over the rates, and the lines that can be pasted into the YAML."""
    rates, (loss, top) = result["rates"], _drawn(result)
    yield "training loss, smoothed, over the learning rate (log scale):"
    first, last = (number(rate, 2) for rate in (rates[0], rates[len(loss) - 1]))
    yield from curve([min(value, top) for value in loss], axis=f"{first} to {last}")
    yield ""
    if result["suggestion"] is None:
        yield "The loss never fell clearly, so there is no range to suggest."
        yield "Look at the model and the data, or train longer epochs: a smaller batch size makes more steps."
        return
    rate = experiment.training.optimizer.learning_rate
    name = rate.name if isinstance(rate, Ref) else "learning_rate"
    low, high = (f"{result['suggestion'][end]:g}" for end in ("min", "max"))
    yield "search_space:"
    yield f"  {name}: {{type: float, min: {low}, max: {high}, log: true}}"
    if not isinstance(rate, Ref):
        yield "training:"
        yield f"  optimizer: {{name: {experiment.training.optimizer.name}, learning_rate: $learning_rate}}"


def _drawn(result: Mapping[str, Any]) -> tuple[list[float], float]:
    """The smoothed loss, and the highest that is worth drawing: where it diverges, it leaves the picture."""
    loss = smoothed(result["losses"])
    level = max(loss[: max(len(loss) // _BEFORE, 1)])
    return loss, level + 0.25 * abs(level - min(loss))


def can_draw(*, asked: bool) -> bool:
    """Whether matplotlib is installed. Raises SpecError where a picture was asked for and it is not."""
    installed = importlib.util.find_spec("matplotlib") is not None
    if asked and not installed:
        raise spec_error("--output needs matplotlib, which is not installed: pip install 'hptune[plots]'.")
    return installed


def write_png(result: Mapping[str, Any], path: Path) -> None:
    """Draw the loss against the rate. Raises RunError where the file can't be written."""
    from matplotlib.figure import Figure

    rates, (loss, top) = result["rates"], _drawn(result)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates[: len(loss)], result["losses"][: len(loss)], color="tab:blue", alpha=0.3, label="loss of the step")
    axes.plot(rates[: len(loss)], loss, color="tab:blue", label="smoothed")
    if result["suggestion"] is not None:
        low, high = result["suggestion"]["min"], result["suggestion"]["max"]
        axes.axvspan(low, high, color="tab:green", alpha=0.2, label=f"suggested: {low:g} to {high:g}")
    margin = 0.1 * (top - min(loss))
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss", ylim=(min(loss) - margin, top + margin))
    axes.legend()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="png", dpi=120)
    except OSError as error:
        raise RunError(f"{path} can't be written: {error.strerror}. Name another file with --output.") from error
