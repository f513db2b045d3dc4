"""Runs hptune's commands in forked children whose calls to the disk are logged, or fail: `disk.c` is loaded before it.

Reads a job a line from stdin (JSON), and answers with a line. It has loaded everything that the commands need, so that
a child costs a few milliseconds. For that all segments run in the child itself (`executor: inline`).
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import struct
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from hptune import __main__ as program
from hptune.base.errors import HptuneError
from hptune.training.data.store.kept import Output, kept

TOLD = b"T"
CACHE = Path("runs/a/data/images-1.u8")
BLOCKS = [bytes([number]) * 3000 for number in range(1, 6)]


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Run the commands of a job in this process. root: below which the disk is watched. told: their ends are logged."""
    os.chdir(job["folder"])
    disk = ctypes.CDLL(None)
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND) if job.get("log") else -1
    if "root" in job:
        disk.disk_arm(job["root"].encode(), log, ctypes.c_long(job.get("fail_at", -1)), job.get("errno", 0))
    answers = []
    for number, arguments in enumerate(job["commands"]):
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = keep() if arguments == ["keep"] else program.run(arguments)
        answers.append({"code": code, "out": out.getvalue(), "err": err.getvalue()})
        if log >= 0:
            os.write(log, TOLD + struct.pack("<qqII", number, code, 0, 0))
    return {"answers": answers, "calls": disk.disk_calls()}


def keep() -> int:
    """What a source of data does with what it decoded."""

    def write(out: Output) -> list[int]:
        for block in BLOCKS:
            out.write(block)
        return [len(BLOCKS)]

    try:
        said = kept(CACHE, write)
    except HptuneError as error:
        sys.stderr.write(str(error))
        return error.exit_code
    assert said == [len(BLOCKS)]
    return 0


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        if job.get("here"):  # to load what is loaded late
            answer = run(job)
        else:
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                try:
                    with os.fdopen(writer, "w") as back:
                        back.write(json.dumps(run(job)))
                finally:
                    os._exit(0)
            os.close(writer)
            with os.fdopen(reader) as back:
                answer = json.loads(back.read() or '{"died": true}')
            os.waitpid(child, 0)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
