"""When a search has had enough: trials, time, epochs, a score that is good enough, or no better one for long."""

from __future__ import annotations

from dataclasses import dataclass

from hptune.experiment.experiment import Experiment
from hptune.run.history import History
from hptune.strategies.strategy import trial_limit


@dataclass(frozen=True, slots=True)
class Limits:
    """What ends a search, whichever is reached first; None where there is no limit.

    trials: started, the failed ones included. time_s: spent searching. epochs: trained, over all trials.
    target: a score. patience: trials that reported, the failed ones included, since the best was found.
    """

    trials: int | None = None
    time_s: float | None = None
    epochs: int | None = None
    target: float | None = None
    patience: int | None = None

    def reached(self, history: History, elapsed_s: float, *, paused: bool) -> str | None:
        """The limit that ends the search now, as one clause; None where it may go on.

        paused: whether there are trials that may still be promoted. The strategy itself ends at its number of trials;
        where nothing is left to promote, this says so without asking it (which may have to load KerasTuner).
        """
        idle = not paused and next(history.running(), None) is None
        if idle and self.trials is not None and len(history.trials) >= self.trials:
            return f"{len(history.trials)} of {self.trials} trials are done"
        if self.time_s is not None and elapsed_s >= self.time_s:
            spent = f"{elapsed_s:.0f}" if elapsed_s >= 10 else f"{elapsed_s:.2g}"
            return f"{spent} s of {self.time_s:g} s were spent"
        if self.epochs is not None and self._epochs_spoken_for(history) >= self.epochs:
            return f"{history.epochs_trained} of {self.epochs} epochs were trained"
        if self.target is not None and history.best is not None:
            score = history.score(history.best)
            if score is not None and not history.objective.better(self.target, score):
                return f"trial {history.best.number} reached the target of {self.target:g}"
        if self.patience is not None and (since := self._since_the_best(history)) >= self.patience:
            return f"{since} trials in a row brought nothing better"
        return None

    @staticmethod
    def _since_the_best(history: History) -> int:
        """How many trials have reported since the best was found; the best itself, trained on, is none of them."""
        reported = set(history.reports[history.best_report + 1 :])
        return len(reported - {history.best.number} if history.best is not None else reported)

    @staticmethod
    def _epochs_spoken_for(history: History) -> int:
        """Trained, or promised to the segments that are under way."""
        return history.epochs_trained + sum(
            segment.to_epoch - segment.from_epoch for segment in history.pending.values() if segment.purpose == "trial"
        )


def limits(experiment: Experiment) -> Limits:
    """The experiment's budget; the strategy's own number of trials where nothing bounds the search."""
    budget = experiment.budget
    return Limits(trial_limit(experiment), budget.time, budget.epochs, budget.target, budget.patience)
