"""The program: runs a command, and prints its errors as the user should see them.

Exit codes: 0 done, 1 the run failed, 2 a wrong spec or usage, 130 interrupted.
"""

from __future__ import annotations

import atexit
import errno
import io
import os
import sys
import traceback

from hptune.base import interrupts
from hptune.base.errors import HptuneError, Interrupted, printable
from hptune.base.threads import busy_threads, lasting, running


def main() -> None:
    """The console script."""
    interrupts.take_sigterm_as_sigint()
    before = running()
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # nobody reads on; Python would say so as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if lasting(busy_threads(before)):  # of code that ran inline: Python would wait for them
        atexit._run_exitfuncs()
        os._exit(code)
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command; the exit code."""
    debug = "--debug" in arguments
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who began the process
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: PTH123, SIM115  # for good
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that can't spell × still gets the rest
    try:
        from hptune.cli import app

        app(args=[word for word in arguments if word != "--debug"], prog_name="hptune")
    except SystemExit as done:  # Typer ends every command with one, usage errors with 2
        return done.code if isinstance(done.code, int) else 0 if done.code is None else 1
    except HptuneError as error:
        return _tell(str(error), error.exit_code, debug=debug)
    except KeyboardInterrupt as stop:
        message = stop.__context__ if isinstance(stop.__context__, Interrupted) else "interrupted"  # once more: at once
        return _tell(str(message), 130, debug=debug)
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            return _tell(_fault(error), 1, debug=debug)
        message = "more files are needed at once than may be open. Raise the limit (ulimit -n), and run it again."
        return _tell(message, 1, debug=debug)
    except Exception as error:  # noqa: BLE001  # the last door: no user sees a traceback unasked
        return _tell(_fault(error), 1, debug=debug)
    return 0


def _fault(error: Exception) -> str:
    return f"{type(error).__name__}: {error}. This is a fault in hptune; --debug shows where."


def _tell(message: str, code: int, *, debug: bool) -> int:
    """Say on stderr what is wrong with the command; called while the error is handled."""
    if debug:
        traceback.print_exc()
    sys.stderr.write(printable(message, keep="\n") + "\n")
    return code


if __name__ == "__main__":
    main()
