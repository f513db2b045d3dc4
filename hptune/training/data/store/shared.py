"""Data handed over once: the first worker that reads the samples leaves them for the others in a file without a name.

The file is mapped into each worker's memory, so that all of them together hold the arrays once. It has no name on the
disk: it is gone when the last process that has it open is, however that ended.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

_HEAD = struct.Struct("<Q")  # where the index begins; 0 until everything before it is written
ALIGNED = 64
"""In bytes: what TensorFlow wants of an array that it is to use in place."""


@dataclass(frozen=True, slots=True)
class SharedData:
    """fd: the file's descriptor, open in every worker. Written once, under a lock, by whoever comes first."""

    fd: int

    def get(self, read: Callable[[], T]) -> T:
        """What the first worker's `read` gave, as read-only arrays in the file: for the first one too, which lets go of
        its own.

        Data that can't be pickled (an open stream, say) is not handed over: then each worker reads for itself.
        """
        fcntl.lockf(self.fd, fcntl.LOCK_EX)  # held by this process alone; it is free again if the process dies
        try:
            data: T | None = self._load()
            if data is None:
                data = read()
                self._save(data)
                shared: T | None = self._load()
                return data if shared is None else shared
            return data
        finally:
            fcntl.lockf(self.fd, fcntl.LOCK_UN)

    def _load(self) -> Any:
        head = os.pread(self.fd, _HEAD.size, 0)
        if not head or not (index_at := _HEAD.unpack(head)[0]):
            return None
        whole = memoryview(mmap.mmap(self.fd, 0, access=mmap.ACCESS_READ))
        text, places = pickle.loads(whole[index_at:])
        return pickle.loads(text, buffers=[whole[start:end] for start, end in places])

    def _save(self, data: object) -> None:
        buffers: list[pickle.PickleBuffer] = []
        try:
            text = pickle.dumps(data, protocol=5, buffer_callback=buffers.append)
        except (pickle.PicklingError, TypeError, AttributeError):  # what pickle raises for what it can't take
            return
        at, places = ALIGNED, []
        for buffer in buffers:
            raw = buffer.raw()
            places.append((at, at + raw.nbytes))
            self._write(raw, at)
            at = -(-(at + raw.nbytes) // ALIGNED) * ALIGNED
        self._write(memoryview(pickle.dumps((text, places))), at)
        self._write(memoryview(_HEAD.pack(at)), 0)

    def _write(self, raw: memoryview, at: int) -> None:
        while raw.nbytes:
            written = os.pwrite(self.fd, raw, at)
            raw, at = raw[written:], at + written
