"""The probe of a Keras model: its data, whether it can be trained, and what that costs."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hptune.base.trial import Segment, Values
from hptune.run.record import joined_space
from hptune.training.core.outcome import parameters
from hptune.training.data import facts
from hptune.training.models.discovery import explore
from hptune.training.models.sample_needs import notes_for_code
from hptune.training.own import reuse
from hptune.training.trainers.by_fit.own_fit_probe import probe_own_fit
from hptune.training.trainers.loaded import Loaded
from hptune.training.trainers.probe import check_precision, check_recipes
from hptune.training.trainers.trials import Trials


def probe(loaded: Loaded, trials: Trials, segment: Segment) -> dict[str, Any]:
    """Facts for the journal's head, after everything that can be checked before trial 1 was checked.

    A probe that may train (`to_epoch` above 0) also measures what training costs.
    """
    check_precision(loaded.as_written)
    learnt = facts(loaded.data)
    if to_code := notes_for_code(loaded.data, loaded.as_written):
        learnt["notes"] = [*learnt.get("notes", ()), *to_code]
    builder = loaded.builder
    built: Sequence[Values] = ()
    if builder is not None and builder.has_own_fit:
        notes = [*learnt.get("notes", ()), reuse.NONE.format(why=builder.why_by_fit or "trains by a fit of its own")]
        learnt |= probe_own_fit(loaded.fit_context, loaded.as_written, notes)
        return {**learnt, "notes": [*learnt["notes"], *reuse.notes_on_leftovers(builder)]}
    if builder is not None:
        explored = explore(builder, loaded.experiment.search_space, folder=loaded.folder)
        learnt["space"], built = explored.space, explored.built
    programs = loaded.programs
    drawn, values, doubts = check_recipes(
        loaded.experiment,
        loaded.data,
        draw=programs.drawn,
        name_metrics=lambda one: (programs.program(one).metric_names, programs.program(one).not_validated),
        space=joined_space(loaded.experiment, learnt),
        built=built,
        folder=loaded.folder,
    )
    program = programs.program(drawn)
    notes_on_model = [*doubts, *loaded.handover.check_first(drawn, program, restored=programs.restores_targets)]
    if builder is not None:
        if not math.isnan(drawn.learning_rate):
            learnt["learning_rate"] = drawn.learning_rate
        notes_on_model += [
            *reuse.notes_on_leftovers(builder),
            *reuse.notes_on(drawn, not_validated=program.not_validated),
        ]
    notes_on_model += reuse.ranks_apart(drawn, program.model, loaded.data.train.y[:16])
    notes_on_model += filter(None, [programs.news.pop("note", None)])
    learnt |= {"notes": [*learnt.get("notes", ()), *notes_on_model]} if notes_on_model else {}
    return {**learnt, **_cost(trials, segment._replace(values=values))} if segment.to_epoch else learnt


def _cost(trials: Trials, segment: Segment) -> dict[str, Any]:
    """What training the segment's values costs.

    The seconds of the first epoch, tracing and compiling included, and of a later one; the peak of this process's
    memory in MB; the number of the model's parameters.
    """
    ends: list[float] = [time.perf_counter()]
    outcome = trials.by_program(
        segment._replace(purpose="trial", to_epoch=3), lambda *_: ends.append(time.perf_counter())
    )
    times = [after - before for before, after in pairwise(ends)]
    return {
        "first_epoch_s": times[0],
        "epoch_s": min(times[1:], default=times[0]),
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "parameters": parameters(outcome.trained.model),
    }
