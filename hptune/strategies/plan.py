"""How many trials a search trains, and how far: what `hptune plan` shows, and the sizes that `hyperband` goes by.

Pure arithmetic over whole numbers (a logarithm in floats is off by one at 3^4 or 10^3), nothing heavy imported.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count, pairwise
from operator import mul

from hptune.experiment.experiment import Experiment
from hptune.experiment.recipe import full_epochs
from hptune.experiment.sections import Asha, Guided, Hyperband
from hptune.experiment.space.space import Space
from hptune.strategies.strategy import bounded, check, trial_limit


@dataclass(frozen=True, slots=True)
class Rung:
    """`trials` trials are trained up to `epochs` epochs, from `from_epoch` (0: they are new)."""

    epochs: int
    trials: int
    from_epoch: int = 0

    @property
    def cost(self) -> int:
        """The epochs that it trains."""
        return self.trials * (self.epochs - self.from_epoch)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one worker will do, rung by rung, if no trial fails or stops early.

    rungs: in order; where only time, chance or what is found ends the search, those of one iteration of `hyperband`,
        those of `asha` for as many trials as it takes for one to reach the last rung, else none.
    trials: how many are started; None where only time ends the search.
    epochs: trained over all trials and replicas; None likewise.
    """

    rungs: tuple[Rung, ...]
    trials: int | None
    epochs: int | None


def brackets(max_epochs: int, factor: int) -> list[tuple[Rung, ...]]:
    """The brackets of one iteration of Hyperband, as KerasTuner sizes them, the most aggressive first.

    Round r of bracket s (r = 0 … s) trains ceil(ceil(1 + log_f R) / (s + 1) · f^(s − r)) trials to ceil(R / f^(s − r))
    epochs, with R = max_epochs and f = factor.
    References: Li et al. 2018, arXiv:1603.06560; KerasTuner's HyperbandOracle.

    >>> [[(rung.trials, rung.epochs) for rung in bracket] for bracket in brackets(9, 3)]
    [[(9, 1), (3, 3), (1, 9)], [(5, 3), (2, 9)], [(3, 9)]]
    """
    assert max_epochs >= 1, "no epochs to hand out"
    assert factor >= 2, "a factor that halves nothing"
    last = next(s for s in count() if factor ** (s + 1) > max_epochs)
    final = 1 + next(k for k in count() if factor**k >= max_epochs)
    return [tuple(_rounds(s, final, max_epochs=max_epochs, factor=factor)) for s in range(last, -1, -1)]


def _rounds(s: int, final: int, *, max_epochs: int, factor: int) -> Iterator[Rung]:
    before = 0
    for power in (factor ** (s - r) for r in range(s + 1)):
        epochs = -(-max_epochs // power)
        yield Rung(epochs, -(-final * power // (s + 1)), before)
        before = epochs


def rung_epochs(min_epochs: int, max_epochs: int, factor: int) -> list[int]:
    """The rungs of `asha`: min_epochs · factor^k as long as it is below max_epochs, then max_epochs.

    >>> rung_epochs(1, 20, 3)
    [1, 3, 9, 20]
    """
    assert min_epochs <= max_epochs, "the spec's check lets none through"
    rungs = []
    epochs = min_epochs
    while epochs < max_epochs:
        rungs.append(epochs)
        epochs *= factor
    return [*rungs, max_epochs]


def rungs_of(experiment: Experiment, space: Space) -> list[int]:
    """The epochs at which a halving strategy compares its trials, rising."""
    most, strategy = full_epochs(experiment, space.defaults()), experiment.strategy
    if isinstance(strategy, Asha):
        return rung_epochs(strategy.min_epochs, most, strategy.factor)
    assert isinstance(strategy, Hyperband), "no other strategy halves"
    return sorted({rung.epochs for bracket in brackets(most, strategy.factor) for rung in bracket})


def plan(experiment: Experiment, space: Space) -> Plan:
    """What the search will do, without running any of it. Raises `SpecError` where the strategy can't serve the space.

    Where `training.epochs` is searched, the default's number of epochs stands for each trial's.
    """
    check(experiment, space)
    replicas = experiment.evaluation.replicas
    points = min((n for n in (trial_limit(experiment), space.size) if n is not None), default=None)
    epochs = full_epochs(experiment, space.defaults())
    strategy, spend = experiment.strategy, experiment.budget.epochs
    if isinstance(strategy, Asha):
        steps = rungs_of(experiment, space)
        endless = points is None and spend is None
        most = strategy.factor ** (len(steps) - 1) if endless else points
        return _plan(_promote(steps, strategy.factor, trials=most, spend=spend, replicas=replicas), replicas, endless)
    if isinstance(strategy, Guided):
        return Plan((), None, None)  # how many trials it takes follows from their results
    whole: Iterable[Rung]
    if isinstance(strategy, Hyperband):
        table = brackets(epochs, strategy.factor)
        iterations = strategy.iterations or (None if bounded(experiment.budget) else 1)
        endless = iterations is None and points is None and spend is None
        whole = _halve(table, iterations=1 if endless else iterations, points=points)
    else:
        most = spend if points is None else points  # a trial trains an epoch at least
        endless = most is None
        whole = () if most is None else [Rung(epochs, most)]
    return _plan(_merge(_within(whole, spend, replicas)), replicas, endless)


def _plan(rungs: Iterable[Rung], replicas: int, endless: bool) -> Plan:
    """The plan over these rungs. endless: only time or chance ends the search, and the rungs are an example."""
    shown = tuple(rungs)
    if endless:
        return Plan(shown, None, None)
    started = sum(rung.trials for rung in shown if rung.from_epoch == 0)
    return Plan(shown, started, sum(rung.cost for rung in shown) * replicas)


def _promote(steps: list[int], factor: int, *, trials: int | None, spend: int | None, replicas: int) -> list[Rung]:
    """What `asha` does with one worker: as many trials on each rung as it then has.

    Between two trials each rung has passed on what it may, so that all but the last steps follow from the trials alone.
    """
    costs = [(to - before) * replicas for before, to in pairwise([0, *steps])]

    def passed_on(started: int) -> list[int]:
        return [started // factor**k for k in range(len(steps))]

    def cost(started: int) -> int:
        return sum(map(mul, passed_on(started), costs))

    begun = trials if trials is not None else spend
    assert begun is not None, "an endless plan is shown for so many trials"
    if spend is not None:
        begun = max(bisect_left(range(begun + 1), spend, key=cost) - 1, 0)
    counts, spent = passed_on(begun), cost(begun)
    while spend is None or spent < spend:
        rung = next((k for k in reversed(range(1, len(steps))) if counts[k] < counts[k - 1] // factor), None)
        if rung is None and (trials is None or counts[0] < trials):
            rung = 0
        elif rung is None:  # nothing is started any more: each rung passes on its best at least
            rung = next((k for k in reversed(range(1, len(steps))) if counts[k] == 0 < counts[k - 1]), None)
        if rung is None:
            break
        counts[rung] += 1
        spent += costs[rung]
    return [Rung(to, n, before) for n, (before, to) in zip(counts, pairwise([0, *steps]), strict=True) if n]


def _halve(table: list[tuple[Rung, ...]], *, iterations: int | None, points: int | None) -> Iterator[Rung]:
    """The rungs bracket by bracket, until the iterations or the points are used up; a short bracket halves too."""
    left = points
    for bracket in (b for _ in (count() if iterations is None else range(iterations)) for b in table):
        trials = bracket[0].trials if left is None else min(bracket[0].trials, left)
        if trials == 0:
            return
        left = None if left is None else left - trials
        for rung in bracket:
            trials = min(trials, rung.trials)
            yield Rung(rung.epochs, trials, rung.from_epoch)


def _within(rungs: Iterable[Rung], spend: int | None, replicas: int) -> Iterator[Rung]:
    """`rungs` until `spend` epochs are trained (None: all); what was started within them is finished."""
    left = spend
    for rung in rungs:
        if left is None:
            yield rung
            continue
        each = (rung.epochs - rung.from_epoch) * replicas
        trials = min(rung.trials, -(-left // each))
        yield Rung(rung.epochs, trials, rung.from_epoch)
        left -= trials * each
        if left <= 0:
            return


def _merge(rungs: Iterable[Rung]) -> Iterator[Rung]:
    """Neighbours of the same epochs as one."""
    held: Rung | None = None
    for rung in rungs:
        if held is not None and (held.epochs, held.from_epoch) == (rung.epochs, rung.from_epoch):
            held = Rung(rung.epochs, held.trials + rung.trials, rung.from_epoch)
            continue
        if held is not None:
            yield held
        held = rung
    if held is not None:
        yield held
