"""Mutation testing, small: one fault at a time in a copy of the package, and the fast tests that should notice.

    make mutation                      # journal, history, halving, schedules
    python scripts/mutate.py hptune/journal.py --every 3

A mutant is a comparison turned, a constant moved, an operator swapped, a `not` taken out, a statement dropped or a
returned value lost. Left alone are texts (what an error says is no logic), and decorators and `strict=`, which
guard against our own mistakes. Prints those that no test noticed, and the share that was: the score. Exit code 1
below 85 %.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy
import pydantic
import pytest
import typer
import yaml

PRELOADED = (hypothesis, numpy, pydantic, typer, yaml)
LONGEST_S = 120
"""Seconds until a mutant counts as noticed: it runs in circles."""

ROOT = Path(__file__).parent.parent

TESTS: dict[str, list[str]] = {
    "hptune/journal.py": ["tests/test_journal.py", "hptune/journal.py"],
    "hptune/history.py": [
        "tests/test_history.py",
        "tests/test_tuner.py",
        "tests/reports/test_pareto.py",
        "tests/test_pruning.py",
    ],
    "hptune/strategies/asha.py": ["tests/strategies/test_asha.py"],
    "hptune/strategies/hyperband.py": ["tests/strategies/test_hyperband.py"],
    "hptune/strategies/by_rung.py": ["tests/strategies/test_by_rung.py"],
    "hptune/spec/schedules.py": ["tests/spec/test_schedules.py", "hptune/spec/schedules.py"],
}
"""By module, the fast tests that are to notice, those that most likely do first."""

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Pow: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.And: ast.Or, ast.Or: ast.And, ast.BitOr: ast.BitAnd,
}  # fmt: skip


def mutants(source: str) -> Iterator[tuple[str, str]]:
    """(what was done and where, the mutated source)."""
    tree = ast.parse(source)
    places = list(_all_edits(tree))
    for at in range(len(places)):
        mutant = copy.deepcopy(tree)
        node, edit = list(_all_edits(mutant))[at]
        line = getattr(node, "lineno", 0)
        before = ast.unparse(node).splitlines()[0][:90]
        edit(node)
        after = ast.unparse(node).splitlines()[0][:90]
        yield f"{line}: {before}  →  {after}", ast.unparse(ast.fix_missing_locations(mutant))


def _all_edits(tree: ast.AST) -> Iterator:  # type: ignore[type-arg]  # of pairs: a node, and a function that changes it
    guards = {
        id(inner)
        for node in ast.walk(tree)
        for guard in [*getattr(node, "decorator_list", ()), *([node] if getattr(node, "arg", "") == "strict" else [])]
        for inner in ast.walk(guard)
    }
    return ((node, edit) for node in ast.walk(tree) if id(node) not in guards for edit in _edits(node))


def _edits(node: ast.AST) -> Iterator:  # type: ignore[type-arg]  # of functions that change the node in place
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        yield lambda n: n.ops.__setitem__(0, SWAPS[type(n.ops[0])]())
    elif isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp) and type(node.op) in SWAPS:
        if not _in_annotation(node):
            yield lambda n: setattr(n, "op", SWAPS[type(n.op)]())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield lambda n: setattr(n, "operand", ast.UnaryOp(ast.Not(), n.operand))
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield lambda n: setattr(n, "value", n.value + 1)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield lambda n: setattr(n, "value", not n.value)
    elif isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        yield lambda n: setattr(n, "value", ast.Constant(None))
    elif isinstance(node, ast.FunctionDef | ast.If | ast.For | ast.While):
        for at, statement in enumerate(node.body):
            call = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
            if call or isinstance(statement, ast.AugAssign | ast.Continue | ast.Break):
                yield lambda n, at=at: n.body.__setitem__(at, ast.Pass())


def _in_annotation(node: ast.AST) -> bool:
    """`int | None`: a type, not arithmetic."""
    return (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.BitOr)
        and ((isinstance(node.right, ast.Constant) and node.right.value is None) or _names_types(node))
    )


def _names_types(node: ast.BinOp) -> bool:
    return all(isinstance(side, ast.Name | ast.Subscript | ast.Attribute) for side in (node.left, node.right))


def survives(copy_of: Path, tests: list[str]) -> bool:
    """Whether the tests pass with what now stands in the copy: in a fork, which has all but hptune imported already."""
    child = os.fork()
    if child == 0:
        signal.alarm(LONGEST_S)
        os.chdir(copy_of)
        sys.path.insert(0, str(copy_of))
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
            there = [test for test in tests if (copy_of / test).exists()]
            os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-k", "not keras", *there]))
    return os.waitpid(child, 0)[1] == 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Mutation testing of what must not be wrong.")
    parser.add_argument("modules", nargs="*", default=list(TESTS))
    parser.add_argument("--every", type=int, default=1, help="try one mutant in so many")
    arguments = parser.parse_args()
    tried = noticed = 0
    with tempfile.TemporaryDirectory(prefix="hptune-mutants-") as folder:
        copy_of = Path(folder)
        for part in ("hptune", "tests", "configs", "docs"):
            shutil.copytree(ROOT / part, copy_of / part, ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("pyproject.toml", "README.md", "CHANGELOG.md"):
            shutil.copy(ROOT / file, copy_of / file)
        shared = copy_of / "tests" / "conftest.py"  # these tests need no TensorFlow started before them
        shared.write_text(shared.read_text().replace("autouse=True, ", ""))
        for module in arguments.modules:
            source = (ROOT / module).read_text(encoding="utf-8")
            if not survives(copy_of, TESTS[module]):
                print(f"{module}: its tests fail as they are", file=sys.stderr)
                return 2
            of_module = noticed_here = 0
            for number, (what, text) in enumerate(mutants(source)):
                if number % arguments.every:
                    continue
                (copy_of / module).write_text(text, encoding="utf-8")
                of_module += 1
                if survives(copy_of, TESTS[module]):
                    print(f"{module}:{what}", flush=True)
                else:
                    noticed_here += 1
            (copy_of / module).write_text(source, encoding="utf-8")
            print(
                f"== {module}: {noticed_here} of {of_module} noticed ({noticed_here / max(of_module, 1):.0%})",
                flush=True,
            )
            tried, noticed = tried + of_module, noticed + noticed_here
    print(f"== all: {noticed} of {tried} ({noticed / max(tried, 1):.1%})")
    return 0 if noticed >= 0.85 * tried else 1


if __name__ == "__main__":
    sys.exit(main())
