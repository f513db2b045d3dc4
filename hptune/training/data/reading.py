"""What the reader of every source gets beside its section."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hptune.training.data.needs import PLAIN, Needs


@dataclass(frozen=True, slots=True)
class Reading:
    """A reader returns a `Raw`, all samples as the source has them; for streams it returns a `Data`.

    folder: where relative paths start (the YAML file's).
    cache: a folder for decoded or unpacked files that are read from the disk; None: a temporary one.
    seed: of anything random.
    with_test, needs: only for streams: whether the test part is read too, and what the model needs.
    """

    folder: Path
    cache: Path | None = None
    seed: int = 0
    with_test: bool = False
    needs: Needs = PLAIN
