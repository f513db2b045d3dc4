"""`python -m tests.reference`: the whole suite, with more cases than in `make test`; prints its table."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from . import table

SUITE = Path(__file__).parent
DOCUMENT = SUITE.parents[1] / "docs" / "reliability.md"


def main() -> int:
    told = argparse.ArgumentParser(prog="python -m tests.reference", description=__doc__)
    told.add_argument("--times", type=int, default=20, help="so many times the cases of `make test`")
    told.add_argument("--processes", type=int, default=2)
    told.add_argument("--only", default="", help="tests whose name has this text in it (pytest's -k)")
    told.add_argument("--write", action="store_true", help=f"put the table into {DOCUMENT.name}")
    asked = told.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        rows.touch()
        tests = [str(SUITE), "-W", "ignore", "-rx", *(("-k", asked.only) if asked.only else ())]
        processes = ["-n", str(asked.processes), "--dist", "loadfile"] if asked.processes > 1 else []
        environment = {**os.environ, "HPTUNE_REFERENCE": str(asked.times), "HPTUNE_REFERENCE_ROWS": str(rows)}
        code = subprocess.call([sys.executable, "-m", "pytest", *processes, *tests], env=environment)
        found = table.read(rows)
    print(table.markdown(found))
    if asked.write and code == 0:
        table.write(DOCUMENT, found)
    return code


if __name__ == "__main__":
    sys.exit(main())
