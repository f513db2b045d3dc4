"""Data read once for all workers: the first to read the samples leaves them for the others in a file without a name.

The file is mapped into each worker's memory, so that they hold the arrays once together. As it has no name on the disk,
it is gone when the last process that has it open ends, in whatever way.
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
"""The alignment in bytes that TensorFlow needs to use an array in place."""


@dataclass(frozen=True, slots=True)
class SharedData:
    """fd: the file's descriptor, open in every worker. Written once, under a lock, by whoever comes first."""

    fd: int

    def get(self, read: Callable[[], T]) -> T:
        """What the first worker's `read` returned, as read-only arrays in the file; the first worker uses these too.

        Data that can't be pickled (such as an open stream) is not shared: then each worker reads for itself.
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
