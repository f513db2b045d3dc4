"""A search from its first command to its end: begun, resumed, or continued under a raised budget.

Imports nothing heavy: what trains is behind the Executor.
"""

from __future__ import annotations

from dataclasses import replace

from hptune import interrupts
from hptune.errors import Interrupted
from hptune.executors.executor import Executor
from hptune.journal import Journal
from hptune.lock import locked
from hptune.loop import Loop, MakeStrategy, Request
from hptune.probing import probe
from hptune.record import (
    Head,
    Record,
    check_any_succeeded,
    check_same_spec,
    filled,
    first,
    head_event,
    joined_space,
    recorded,
)
from hptune.rundir import RunPaths, write_whole
from hptune.warm_start import earlier_trials
from hptune.watch import Watch

__all__ = ["Request", "search"]


def search(
    request: Request, paths: RunPaths, executor: Executor, *, make_strategy: MakeStrategy, watch: Watch
) -> Record:
    """Run a search, resume it, or continue it under a raised budget; the record as it then stands.

    Raises SpecError where the spec or the data can't be used or has changed since the run was begun, RunError where
    the run can't go on or no trial succeeded, Interrupted after Ctrl-C.
    """
    with locked(paths) as left_behind:
        if left_behind is not None:
            watch.noted(left_behind)
        try:
            with interrupts.noticed(finish=False) as asked:
                events = recorded(paths)
                head = first(events)
                if head is not None:
                    loop = _resume(request, Head(head), paths, executor)
                else:
                    loop = _begin(request, paths, executor)
                with Journal(paths.journal) as journal:
                    loop.run(journal, events, make_strategy=make_strategy, watch=watch, asked_to_stop=asked)
        except KeyboardInterrupt as stop:
            told = f"interrupted. What was finished is kept in {paths.root}. Go on with: {request.command}"
            raise Interrupted(told) from stop
    check_any_succeeded(loop.record)
    return loop.record


def _begin(request: Request, paths: RunPaths, executor: Executor) -> Loop:
    facts = probe(executor, meanwhile=request.meanwhile)
    experiment = filled(request.experiment, facts)
    space = joined_space(experiment, facts)
    earlier, told = earlier_trials(experiment, space, paths.root.parent, fingerprint=facts.get("fingerprint"))
    write_whole(paths.spec, request.text)
    with Journal(paths.journal) as journal:
        event = head_event(experiment, space=space, facts=facts, folder=request.folder, earlier=earlier, told=told)
        head = journal.append(event)
    return Loop(Record(head), replace(request, experiment=experiment), paths, executor, probed=True)


def _resume(request: Request, head: Head, paths: RunPaths, executor: Executor) -> Loop:
    experiment = filled(request.experiment, head.facts)
    check_same_spec(head, experiment)
    if paths.spec.exists() and paths.spec.read_text(encoding="utf-8") != request.text:
        write_whole(paths.spec, request.text)
    return Loop(Record(head.event), replace(request, experiment=experiment), paths, executor, probed=False)
