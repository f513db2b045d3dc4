"""What SIGINT (Ctrl-C) and SIGTERM (schedulers send it) do to a command: the same, by the same two steps.

By default the first one ends the command at once. In a search that is to finish what it trains the first one is only
noticed; the second then ends it at once. Ctrl-Z stops workers too.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_FINISHING = b"stopping as soon as what is being trained is done; once more stops now\n"


@contextmanager
def suspending(groups: Callable[[], Iterable[int]]) -> Iterator[None]:
    """Make Ctrl-Z also stop the process groups that `groups` returns, and continue them with this process.

    A terminal reaches its own group alone. Only the main thread receives signals: in any other, nothing is done.
    """

    def suspend(*_: Any) -> None:
        stopped = list(groups())
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for group in stopped:
                with suppress(ProcessLookupError):
                    os.killpg(group, number)
            if number == signal.SIGSTOP:
                os.kill(os.getpid(), number)  # the line after this one is run when somebody lets the process go on

    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTSTP) == signal.SIG_IGN:
        yield
        return
    before = signal.signal(signal.SIGTSTP, suspend)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, before)


def take_sigterm_as_sigint() -> None:
    """Make SIGTERM raise KeyboardInterrupt too, from now on."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@contextmanager
def noticed(*, finish: bool) -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether a signal has come in the block; a signal also raises KeyboardInterrupt.

    Ask it now and then all the same: libraries have been seen to swallow the exception while they are imported.
    finish: the first one is only noticed, and said on stderr; the second raises. Only the main thread
    receives signals: in any other, none ever comes.
    """
    came: list[int] = []

    def notice(number: int, _: Any) -> None:
        came.append(number)
        if not finish or len(came) > 1:
            raise KeyboardInterrupt
        os.write(2, _FINISHING)  # not by print, which may just be at it

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, notice) for number in _SIGNALS}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
