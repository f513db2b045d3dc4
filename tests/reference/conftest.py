"""What was compared goes into a file where `python -m tests.reference` asks for it: a line a row, of every process."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from . import differences


def pytest_sessionfinish(session: pytest.Session) -> None:
    if (file := os.environ.get("HPTUNE_REFERENCE_ROWS")) is not None:
        with Path(file).open("a", encoding="utf-8") as lines:
            lines.writelines(f"{json.dumps(row)}\n" for row in differences.rows())
