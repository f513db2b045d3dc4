"""A search from its first command to its end: begun, resumed, or continued under a raised budget.

Imports nothing heavy: what trains is behind the Executor.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from hptune.base import files, interrupts
from hptune.base.errors import Interrupted
from hptune.executors.executor import Executor
from hptune.experiment.space.space import Space
from hptune.run.events import Event
from hptune.run.journal import Journal
from hptune.run.lock import locked
from hptune.run.record import (
    Head,
    Record,
    check_any_succeeded,
    check_point,
    filled,
    first,
    head_event,
    joined_space,
    recorded,
)
from hptune.run.resume import check_same_spec
from hptune.run.rundir import RunPaths
from hptune.run.warm_start import earlier_trials
from hptune.search.loop import Loop, MakeStrategy, Request
from hptune.search.probing import probe, with_strategys_code
from hptune.search.watch import Watch

__all__ = ["Request", "search", "search_command"]


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
                    request, record = _resumed(request, Head(head), paths), Record(head)
                    events = _points_of(record.head.space, events, paths)
                else:
                    request, record = _begun(request, paths, executor)
                with Journal(paths.journal, below=paths.runs) as journal:
                    Loop(
                        record,
                        request,
                        paths=paths,
                        executor=executor,
                        journal=journal,
                        events=events,
                        probed=head is None,
                        make_strategy=make_strategy,
                        watch=watch,
                        asked_to_stop=asked,
                    ).run()
        except KeyboardInterrupt as stop:
            message = f"interrupted. What was finished is kept in {paths.root}. Go on with: {request.command}"
            raise Interrupted(message) from stop
    check_any_succeeded(record)
    return record


def _begun(request: Request, paths: RunPaths, executor: Executor) -> tuple[Request, Record]:
    """A run that is begun: its folder, and its journal with the head. The request has every default filled in."""
    probed = probe(executor, meanwhile=request.meanwhile)
    facts = with_strategys_code(probed, request.experiment, request.folder)
    experiment = filled(request.experiment, facts)
    space = joined_space(experiment, facts)
    earlier, taken_over = earlier_trials(experiment, space, paths.root.parent, facts=facts)
    files.write_whole(paths.spec, request.text, below=paths.runs)
    with Journal(paths.journal, below=paths.runs) as journal:
        event = head_event(
            experiment, space=space, facts=facts, folder=request.folder, earlier=earlier, taken_over=taken_over
        )
        head = journal.append(event)
    return replace(request, experiment=experiment), Record(head)


def _resumed(request: Request, head: Head, paths: RunPaths) -> Request:
    """The request with the defaults that the run was begun with. Raises SpecError where it asks for another run."""
    experiment = filled(request.experiment, head.facts)
    check_same_spec(head, experiment)
    text = request.text.encode("utf-8", "backslashreplace")
    if files.is_file(paths.spec, below=paths.runs) and files.read_bytes(paths.spec, below=paths.runs) != text:
        files.write_whole(paths.spec, request.text, below=paths.runs)
    return replace(request, experiment=experiment)


def _points_of(space: Space, events: Iterable[Event], paths: RunPaths) -> Iterator[Event]:
    """The events as they come. Raises RunError for a trial whose values are no point of the space."""
    for event in events:
        if event["event"] == "segment_started" and event["purpose"] == "trial":
            check_point(space, event["values"], paths)
        yield event


def search_command(config: Path, sets: list[str] | None, *, workers: int | None, runs_dir: Path, strict: bool) -> str:
    """The command that goes on with this search. runs_dir: as the command line has it, `runs` unless given."""
    words = ["hptune", "search", str(config), *(word for pair in sets or [] for word in ("--set", pair))]
    words += ["--workers", str(workers)] if workers is not None else []
    words += ["--runs-dir", str(runs_dir)] if runs_dir != Path("runs") else []
    words += ["--strict"] if strict else []
    return shlex.join(words)
