"""How many mutants the tests noticed: reads `mutmut results --all true`, prints a line for each module. Exit code 1
below 85 %.

The score is that of `mutmut badge`: the killed, and those that ran in circles, out of all.
"""

from __future__ import annotations

import sys
from collections import Counter

LEAST = 0.85
NOTICED = ("killed", "timeout")


def score(statuses: Counter[str]) -> float:
    return sum(statuses[status] for status in NOTICED) / statuses.total()


def main() -> int:
    modules: dict[str, Counter[str]] = {}
    for line in sys.stdin:
        mutant, _, status = line.strip().partition(": ")
        modules.setdefault(mutant.rpartition(".")[0], Counter())[status] += 1
    if not modules:
        print("no mutant was tried", file=sys.stderr)
        return 1
    modules["all"] = sum(modules.values(), Counter())
    for module, statuses in modules.items():
        counts = ", ".join(f"{count} {status}" for status, count in statuses.most_common())
        print(f"{module}: {score(statuses):.1%} of {statuses.total()} ({counts})")
    return 0 if score(modules["all"]) >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
