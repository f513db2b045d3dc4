"""A small process beside each worker that ends it, and all that it has begun, as soon as their driver is gone.

A worker can't be trusted with that: it may be inside a call that lets no other of its threads run. The worker leads a
process group, in which its children are too; the watchdog is forked before anything is loaded.
"""

from __future__ import annotations

import os
import signal

from hptune.executors.kin import descendants, kill


def fork_watchdog(driver_fd: int, *others: int) -> None:
    """driver_fd: the reading end of a pipe whose other end the driver alone holds open.

    others: the worker's other descriptors, which the watchdog must not hold open.
    """
    if os.fork():
        os.close(driver_fd)
        return
    group = os.getpgrp()
    worker = os.getppid()
    for fd in (0, 1, 2, *others):
        os.close(fd)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while os.read(driver_fd, 1):
        pass
    if os.getppid() == worker:  # it may have gone to another group; else it has ended, and its number is another's
        os.kill(worker, signal.SIGSTOP)
        kill([worker, *(process for process in descendants(worker) if process != os.getpid())])
    os.killpg(group, signal.SIGKILL)
    os._exit(0)
