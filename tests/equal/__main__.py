"""`python -m tests.equal`: walks everything, writes a JSON line a trial, prints the table; exit 1 where some differ."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"


def main() -> int:
    from hptune.base.quiet import quietly

    with quietly():
        from . import table, walk
        from .areas import AREAS
    told = argparse.ArgumentParser(prog="python -m tests.equal", description=__doc__)
    told.add_argument(
        "--areas", nargs="*", default=list(AREAS), choices=list(AREAS), metavar="AREA", help=", ".join(AREAS)
    )
    told.add_argument("--processes", type=int, default=2)
    told.add_argument("--limit", type=int, help="at most so many cases of each area, spread over all")
    told.add_argument("--only", default="", help="cases whose key (area/class/option) has this text in it")
    told.add_argument("--keys", type=Path, help="a file with a key a line: those cases alone, in that order")
    told.add_argument("--quick", action="store_true", help="forwards alone: half of the time")
    told.add_argument("--output", type=Path, default=Path("equal.jsonl"), help="where the results go, a line each")
    told.add_argument(
        "--continue", dest="go_on", action="store_true", help="leave out what stands in the output already"
    )
    told.add_argument("--write", action="store_true", help=f"put the table into {DOCUMENT.name}")
    told.add_argument("--list", action="store_true", help="print the cases and train nothing")
    asked = told.parse_args()
    keys = [key for area in asked.areas for key in walk.chosen(area, asked.limit) if asked.only in key]
    if asked.keys:
        keys = asked.keys.read_text(encoding="utf-8").splitlines()
    if asked.list:
        print("\n".join(keys))
        return 0
    found = walk.read(asked.output) if asked.go_on else []
    done = walk.keys_of(found)
    keys = [key for key in keys if key not in done]
    with asked.output.open("a" if asked.go_on else "w", encoding="utf-8") as file:
        for number, (key, results) in enumerate(walk.walked(keys, processes=asked.processes, quick=asked.quick), 1):
            found += results
            file.writelines(f"{walk.line(result)}\n" for result in results)
            file.flush()
            print(f"{number}/{len(keys)} {key} {sum(result.seconds for result in results):.0f} s", file=sys.stderr)
    print("\n".join(table.findings(found)))
    print(table.markdown(found))
    if asked.write:
        table.write(DOCUMENT, found)
    return int(any(result.silent for result in found))


if __name__ == "__main__":
    sys.exit(main())
