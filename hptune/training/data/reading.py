"""How samples are asked for: what the reader of every source is given beside its section."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hptune.training.data.needs import PLAIN, Needs


@dataclass(frozen=True, slots=True)
class Reading:
    """A reader gives a `Raw`: all samples as they lie there. Where they come as streams it gives a `Data`.

    folder: where relative paths start (the YAML file's).
    cache: a folder for what is decoded or unpacked to be read from the disk; None: one that this process throws away.
    seed: of whatever is random.
    with_test, needs: of use to streams alone: whether the test part is read too, and what the model needs.
    """

    folder: Path
    cache: Path | None = None
    seed: int = 0
    with_test: bool = False
    needs: Needs = PLAIN
