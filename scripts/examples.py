"""`make examples`: makes the small data that configs/examples/ is about, runs each experiment, and writes their scores
into the README, between its markers. Everything is derived from fixed seeds; nothing is downloaded.
"""

from __future__ import annotations

import csv
import json
import math
import random
import struct
import subprocess
import sys
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "configs" / "examples"
DATA = FOLDER / "data"
RUNS = ROOT / "runs" / "examples"
BEGIN, END = "<!-- made by `make examples` -->", "<!-- end -->"


@dataclass(frozen=True)
class Example:
    """metric: which figure of the test part stands in the table."""

    name: str
    shows: str
    metric: str


EXAMPLES = (
    Example("customers", "CSV with dates, categories and holes; two classes", "AUC"),
    Example("digits-cnn", "pictures; ten classes; `preset: cnn`, Hyperband", "accuracy"),
    Example("messages", "free text; several labels at once", "binary_accuracy"),
    Example("flats", "Parquet, split by building; a number; `preset: mlp`", "mae"),
    Example("arm", "arrays; two numbers at once", "mae"),
    Example("shapes", "a folder of pictures, augmented; three classes", "accuracy"),
    Example("tumours", "a scikit-learn pipeline, cross-validated", "balanced_accuracy"),
    Example("power", "a time series from a Python function; a number", "mae"),
)


# --- the data ---------------------------------------------------------------------------------------------------------


def make_data(folder: Path) -> None:
    """Write every file that the examples read."""
    folder.mkdir(parents=True, exist_ok=True)
    customers(folder / "customers.csv")
    messages(folder / "messages.csv")
    flats(folder / "flats.parquet")
    arm(folder / "arm.npz")
    shapes(folder / "shapes")


def customers(path: Path, rows: int = 1200) -> None:
    """Who bought: mostly the well-off, those in Oslo and those who joined lately; one cell in twenty is missing."""
    draw = random.Random(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, delimiter=";")
        table.writerow(["age", "income", "city", "joined", "bought"])
        for _ in range(rows):
            age, income, city = draw.randint(18, 80), draw.gauss(50, 15), draw.choice(["Oslo", "Lima", "São Paulo"])
            month = draw.randint(1, 12)
            liking = age / 80 + income / 100 + 0.4 * (city == "Oslo") + month / 20 + draw.gauss(0, 0.2)
            shown = ["" if draw.random() < 0.05 else age, round(income, 1), "" if draw.random() < 0.05 else city]
            table.writerow([*shown, f"2025-{month:02d}-{draw.randint(1, 28):02d}", "yes" if liking > 1.9 else "no"])


WORDS = {
    "billing": ["invoice", "charged", "refund", "price", "paid twice"],
    "delivery": ["late", "parcel", "courier", "address", "never arrived"],
    "quality": ["broken", "scratched", "does not work", "wrong colour", "came apart"],
}
FILLERS = ["hello", "please", "my order", "yesterday", "again", "thank you", "I think", "the", "really", "help"]


def messages(path: Path, rows: int = 800) -> None:
    """Messages about none, one or several topics, in words that tell."""
    draw = random.Random(1)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["message", *WORDS])
        for _ in range(rows):
            topics = [topic for topic in WORDS if draw.random() < 0.4]
            said = [draw.choice(WORDS[topic]) for topic in topics] + draw.sample(FILLERS, 5)
            if draw.random() < 0.2:  # said in passing
                said.append(draw.choice(WORDS[draw.choice(list(WORDS))]))
            draw.shuffle(said)
            table.writerow([" ".join(said), *(int(topic in topics) for topic in WORDS)])


def flats(path: Path, rows: int = 1500) -> None:
    """What a flat costs, by its size and its building's district and age."""
    import pyarrow
    from pyarrow import parquet

    random = np.random.RandomState(2)
    building = random.randint(0, 150, rows)
    worth = random.normal(1, 0.1, 150)
    district, built = random.randint(0, 4, 150), random.randint(1900, 2020, 150)
    area, rooms = random.uniform(20, 140, rows).round(1), random.randint(1, 6, rows)
    rent = (8 + 2 * district[building] + (built[building] - 1900) / 60) * area * worth[building] + 40 * rooms
    named = np.array(["north", "east", "south", "harbour"])[district[building]]
    columns = {"building": building, "area": area, "rooms": rooms, "district": named, "built": built[building]}
    parquet.write_table(pyarrow.table({**columns, "rent": rent.round(0)}), path)


def arm(path: Path, rows: int = 2000) -> None:
    """Three joints, in radians; the hand at the end of three limbs of 3, 2 and 1."""
    angles = np.random.RandomState(3).uniform(-1.5, 1.5, (rows, 3)).astype(np.float32)
    turned, limbs = np.cumsum(angles, axis=1), np.array([3.0, 2.0, 1.0])
    hand = np.stack([(np.cos(turned) * limbs).sum(axis=1), (np.sin(turned) * limbs).sum(axis=1)], axis=1)
    np.savez(path, angles=angles, hand=hand.astype(np.float32))


def shapes(folder: Path, each: int = 150, size: int = 24) -> None:
    """Circles, crosses and bars at random places in noise; and one file that is no picture."""
    draw = random.Random(4)
    for kind in ("circle", "cross", "bar"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            at, reach = (draw.uniform(8, 16), draw.uniform(8, 16)), draw.uniform(4, 7)
            grid = [[_ink(kind, y - at[0], x - at[1], reach) for x in range(size)] for y in range(size)]
            rows = [bytes(min(255, max(0, int(200 * ink + draw.gauss(25, 20)))) for ink in row) for row in grid]
            (folder / kind / f"{number:03d}.png").write_bytes(_png(rows))
    (folder / "bar" / "broken.png").write_bytes(b"this is no picture")


def _ink(kind: str, y: float, x: float, reach: float) -> bool:
    if kind == "circle":
        return abs(math.hypot(y, x) - reach) < 1
    bar = abs(y) < 1 and abs(x) < reach
    return bar or (kind == "cross" and abs(x) < 1 and abs(y) < reach)


def _png(rows: list[bytes]) -> bytes:
    """A grey PNG of these rows (PNG specification, section 5)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    content = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


# --- the runs ---------------------------------------------------------------------------------------------------------


def run(example: Example) -> str:
    """Search, train the best, and tell of both as a line of the table."""
    began = time.monotonic()
    found = hptune("search", str(FOLDER / f"{example.name}.yaml"), "--fresh", "--quiet", "--json")
    best = hptune("train-best", "--run", example.name, "--json")
    seconds = time.monotonic() - began
    winner, baseline = best["test"][example.metric], best["baseline"]["test"].get(example.metric)
    beside = "–" if baseline is None else f"{baseline:.3g}"
    link = f"[{example.name}](configs/examples/{example.name}.yaml)"
    trials = len(hptune("trials", "--run", found["run"], "--json"))
    return f"| {link} | {example.shows} | {trials} | {example.metric} | {winner:.3g} | {beside} | {seconds:.0f} s |"


def hptune(*arguments: str) -> Any:
    """What a command prints, read as JSON."""
    command = [sys.executable, "-m", "hptune", *arguments, "--runs-dir", str(RUNS)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


HEAD = """\
| experiment | shows | trials | test | winner | baseline | took |
|---|---|---|---|---|---|---|
"""


def write_table(readme: Path, lines: list[str]) -> None:
    """Put the table between the README's markers."""
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    assert after, f"{readme} has lost its markers {BEGIN} and {END}"
    readme.write_text(f"{before}{BEGIN}\n{HEAD}{chr(10).join(lines)}\n{END}{after}", encoding="utf-8")


def main(names: list[str]) -> None:
    """names: the examples to run; all of them, and the README's table made anew, where none is named."""
    make_data(DATA)
    lines = []
    for example in EXAMPLES:
        if not names or example.name in names:
            lines.append(run(example))
            print(lines[-1], flush=True)
    if not names:
        write_table(ROOT / "README.md", lines)


if __name__ == "__main__":
    main(sys.argv[1:])
