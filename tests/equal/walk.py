"""Walks cases in processes of their own: a model that was compiled is never wholly freed, so no process lives long."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from .case import Case, Missing
from .compare import Result, compared

CASES_A_PROCESS = 25
"""So many cases are trained in a process before another takes its place."""


@cache
def cases(area: str) -> dict[str, Case | Missing]:
    """The cases of an area by their keys."""
    from hptune.training import runtime

    runtime.start()
    from .areas import AREAS

    return {case.key: case for case in AREAS[area]()}


def chosen(area: str, limit: int | None) -> list[str]:
    """The keys of an area's cases; at most `limit` of them, spread over all."""
    keys = list(cases(area))
    if limit is None or limit >= len(keys):
        return keys
    return [keys[number * len(keys) // limit] for number in range(limit)]


def results(key: str, *, quick: bool = False) -> list[Result]:
    """Of one case, in this process."""
    case = cases(key.split("/")[0])[key]
    folder = Path(tempfile.mkdtemp(prefix="equal-"))
    try:
        return list(compared(case, folder, quick=quick))
    except Exception as error:  # noqa: BLE001  # one broken case must not end the walk; it is told as a difference
        told = f"{type(error).__name__}: {error}"[:300]
        return [Result(case.area, case.name, case.option, "", "", "differs", float("inf"), "the comparison", told)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def walked(keys: Sequence[str], *, processes: int, quick: bool = False) -> Iterator[tuple[str, list[Result]]]:
    """(key, its results), as they come; processes that have trained their share are replaced by fresh ones.

    A case whose process dies is told as a difference; what was to be trained in that process after it is tried again.
    """
    waiting = list(keys)
    while waiting:
        share, waiting = waiting[: processes * CASES_A_PROCESS], waiting[processes * CASES_A_PROCESS :]
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            asked = {pool.submit(results, key, quick=quick): key for key in share}
            lost = []
            for done in as_completed(asked):
                if isinstance(done.exception(), BrokenProcessPool):
                    lost.append(asked[done])
                else:
                    yield asked[done], done.result()
        if lost and len(lost) == len(share):
            yield lost[0], [_died(lost[0])]
            lost = lost[1:]
        waiting = lost + waiting


def _died(key: str) -> Result:
    area, name, option = key.split("/", 2)
    return Result(area, name, option, "", "", "differs", float("inf"), "the comparison", "its process died")


def read(file: Path) -> list[Result]:
    """The results of an earlier walk."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [Result(**json.loads(line)) for line in lines]


def line(result: Result) -> str:
    return json.dumps(result.as_dict(), ensure_ascii=False)


def keys_of(found: Iterable[Result]) -> set[str]:
    return {one.key for one in found}
