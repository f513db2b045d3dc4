"""`hptune init` on tables as people have them: what it writes is valid, and its search runs at once."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hptune import __main__ as main
from hptune.base.errors import SpecError
from hptune.experiment.reading.load import load
from hptune.starter import write_starter

ROWS = 60


def table(header: str, row: Callable[[int, random.Random], str], rows: int = ROWS) -> str:
    draw = random.Random(0)
    return "\n".join([header, *(row(i, draw) for i in range(rows))]) + "\n"


def made(folder: Path, text: str, target: str | None, file: str = "t.csv") -> dict[str, Any]:
    """What `init` writes for a table, as data; valid."""
    (folder / file).write_text(text, encoding="utf-8")
    (folder / "made.yaml").unlink(missing_ok=True)
    write_starter(folder / "made.yaml", folder / file, target)
    load(folder / "made.yaml")
    found: dict[str, Any] = yaml.safe_load((folder / "made.yaml").read_text(encoding="utf-8"))
    return found


def flat(i: int, draw: random.Random) -> str:
    age = "" if i % 7 == 2 else draw.randint(18, 80)
    city = "NA" if i % 9 == 4 else draw.choice(["Oslo", "Lima"])
    return f"{age},{city},{draw.random()},{'' if i % 20 == 5 else 'abc'[i % 3]}"


def review(i: int, draw: random.Random) -> str:
    words = draw.sample(["came", "went", "saw", "lost", "won", "paid", "sat", "stood", "ran", "hid"], 5)
    return f'{i % 2},"{draw.choice(["so good, I", "it was bad and I"])} {" ".join(words)} {i}"'


def dates(i: int, draw: random.Random) -> str:
    joined, seen = f"2025-{i % 12 + 1:02d}-{i % 28 + 1:02d}", f"2025-01-01T{i % 24:02d}:30"
    return f"{joined},{seen},2024-0{i % 9 + 1}-01,{draw.gauss(5, 2):.3f}"


QUOTES = table(
    'name,"likes, most","said ""so""",buys',
    lambda i, d: f'"Doe, {"JM"[i % 2]}.","a ""b"" {i % 3}",{d.random()},{"yn"[i % 2]}',
)
SEMICOLONS = table("länge;breite;preis €", lambda i, d: f"{d.random():.3f};{d.randint(1, 9)};{d.gauss(300, 40):.2f}")
MISSING = table("age,city,spent,kind", flat)
TEXT = table("stars,review", review)
DATES = table("joined,seen,left,sold", dates)

TABLES = {
    "quotes": (QUOTES, "buys", {}),
    "semicolons": (SEMICOLONS, "preis €", {}),
    "missing values": (MISSING, "kind", {"missing": {"age": "median", "city": "most_frequent", "kind": "drop"}}),
    "a text column": (TEXT, "stars", {"columns": {"review": "text"}}),
    "a date column": (DATES, "sold", {}),
}


@pytest.mark.parametrize("name", TABLES)
def test_what_it_writes_searches_at_once(name: str, tmp_path: Path) -> None:
    text, target, options = TABLES[name]
    data = made(tmp_path, text, target)["data"]
    assert data == {"csv": "t.csv", "target": target, "validation": 0.2, "test": 0.2, **options}
    sets = [
        word
        for pair in ("budget.trials=2", "training.epochs=2", "execution.executor=inline")
        for word in ("--set", pair)
    ]
    with contextlib.chdir(tmp_path):
        assert main.run(["search", "made.yaml", "--quiet", *sets]) == 0


def test_columns_that_say_nothing_are_left_out_with_the_reason(tmp_path: Path) -> None:
    text = table(
        "user_id,,paid,same,none,name,weight,odd,y",
        lambda i, d: f"{i},{i},{d.random()},1,,N{i},{i + 0.5},{'x' if i == 3 else i},{i % 2}",
    )
    data = made(tmp_path, text, "y")["data"]
    assert data["features"] == ["paid", "weight"]
    written = (tmp_path / "made.yaml").read_text()
    for told in (
        "# not used: user_id only identifies rows",
        "# not used: same is the same in every row",
        "# not used: none is empty",
        "# not used: name holds 60 different texts in 60 rows",
        "# not used: odd holds 'x' among numbers",
    ):
        assert told in written
    assert "t.csv:5" in written


def test_the_target_decides_the_last_layer(tmp_path: Path) -> None:
    text = table("x,kind,rare,price", lambda i, d: f"{d.random()},{'abc'[i % 3]},{int(i % 20 == 0)},{d.random()}")
    assert made(tmp_path, text, "kind")["model"]["layers"][-1] == {"Dense": {"units": 3, "activation": "softmax"}}
    assert "3 classes: a 33%, b 33%, c 33%" in (tmp_path / "made.yaml").read_text()
    assert "class_weight" not in (tmp_path / "made.yaml").read_text()
    assert made(tmp_path, text, "rare")["objective"] == {"metric": "val_accuracy", "goal": "maximize"}
    assert "# class_weight: balanced" in (tmp_path / "made.yaml").read_text()
    found = made(tmp_path, text, "price")
    assert found["model"]["layers"][-1] == {"Dense": {"units": 1}}
    assert found["objective"] == {"metric": "val_loss", "goal": "minimize"}


def test_names_that_yaml_would_read_as_something_else(tmp_path: Path) -> None:
    names = ["$cost", "true", "a: b", "#", "2025", "it's", '"q"', "null"]
    header = ",".join('"' + name.replace('"', '""') + '"' for name in names)
    text = table(f"{header},same", lambda i, d: ",".join([*("" if i == 9 else str(d.random()) for _ in names), "1"]))
    made(tmp_path, text, "$cost")
    spec: Any = load(tmp_path / "made.yaml").experiment.data
    assert spec.target == "$cost"
    assert spec.features == names[1:]
    assert set(spec.missing) == set(names)


def test_a_file_of_few_rows_has_small_batches(tmp_path: Path) -> None:
    text = table("a,b,y", lambda i, d: f"{d.random()},{d.random()},{d.random()}", rows=20)
    assert max(made(tmp_path, text, "y")["search_space"]["batch_size"]["values"]) <= 6


def test_a_path_starts_where_the_yaml_stands(tmp_path: Path) -> None:
    (tmp_path / "specs").mkdir()
    (tmp_path / "t.csv").write_text(SEMICOLONS)
    write_starter(tmp_path / "specs" / "made.yaml", tmp_path / "t.csv", "breite")
    assert yaml.safe_load((tmp_path / "specs" / "made.yaml").read_text())["data"]["csv"] == "../t.csv"


def test_a_parquet_file(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(
        pa.table({"x": [i / 7 for i in range(40)], "on": [i % 3 == 0 for i in range(40)]}), tmp_path / "t.parquet"
    )
    write_starter(tmp_path / "made.yaml", tmp_path / "t.parquet", "on")
    spec: Any = load(tmp_path / "made.yaml").experiment.data
    assert (spec.parquet, spec.target) == ("t.parquet", "on")


@pytest.mark.parametrize(
    ("target", "text", "told"),
    [
        ("bougt", QUOTES.replace("buys", "bought"), "did you mean 'bought'"),
        (None, SEMICOLONS, "--target is required with --data. Its columns: länge, breite, preis €"),
        ("y", "x,y\n1,2\n1,3\n", "no column to learn from beside the target ('x' is the same in every row)"),
        ("y", table("x,y", lambda i, d: f"{i},1"), "one class only"),
        ("y", "", "is empty"),
    ],
)
def test_tables_that_can_t_be_used(target: str | None, text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        made(tmp_path, text, target)
    assert told in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no such file"):
        write_starter(tmp_path / "made.yaml", tmp_path / "no.csv", "y")
