"""What holds for every source of data, run over all of them; a kind that is missing here fails by itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import keras.src.utils.file_utils as keras_files
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from hptune.base.errors import SpecError
from hptune.base.rows import load_row
from hptune.experiment.data import DATA_KINDS, DataOptions, TableData, known_of, table_format
from hptune.experiment.reading.load import load as read_yaml
from hptune.reports.plan import training_rows
from hptune.training.data import Data, load_data
from hptune.training.data.sources.table_files import open_table, sheets
from hptune.training.data.store.stored import Stored
from hptune.training.data.table.survey import survey

ROOT = Path(__file__).parents[3]

COLUMNS = {
    "a": [0.5 * i for i in range(60)],
    "city": [("Köln", "Bonn", "Trier")[i * 7 % 3] for i in range(60)],
    "y": [i % 2 for i in range(60)],
}


def arrays() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {"x": rng.normal(size=(60, 4)), "y": np.arange(60) % 3}


def npz(folder: Path) -> dict[str, Any]:
    np.savez(folder / "d.npz", **arrays())
    return {"npz": "d.npz"}


def csv(folder: Path) -> dict[str, Any]:
    rows = [",".join(COLUMNS), *(",".join(map(str, row)) for row in zip(*COLUMNS.values(), strict=True))]
    (folder / "d.csv").write_text("\n".join(rows) + "\n")
    return {"csv": "d.csv", "target": "y"}


def parquet(folder: Path) -> dict[str, Any]:
    pq.write_table(pa.table(COLUMNS), folder / "d.parquet")
    return {"parquet": "d.parquet", "target": "y"}


def jsonl(folder: Path) -> dict[str, Any]:
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)]
    (folder / "d.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return {"jsonl": "d.jsonl", "target": "y"}


def images(folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    for i in range(24):
        (folder / "p" / f"c{i % 2}").mkdir(parents=True, exist_ok=True)
        picture = tf.io.encode_png(rng.integers(0, 255, (6, 5, 3), dtype=np.uint8))
        (folder / "p" / f"c{i % 2}" / f"{i}.png").write_bytes(picture.numpy())
    return {"images": "p", "size": [6, 5]}


def keras(folder: Path) -> dict[str, Any]:
    (folder / "datasets").mkdir()
    texts = np.array([np.arange(1, 3 + i % 5) for i in range(60)], dtype=object)
    labels = np.arange(60) % 2
    held: dict[str, Any] = {"x_train": texts, "y_train": labels, "x_test": texts[:20], "y_test": labels[:20]}
    np.savez(folder / "datasets" / "imdb.npz", **held)
    return {"keras": "imdb", "maxlen": 8}


def python(folder: Path) -> dict[str, Any]:
    body = "rng = np.random.default_rng(0)\n    return rng.normal(size=(60, 4)), np.arange(60) % 3\n"
    (folder / "source_of_a_user.py").write_text(f"import numpy as np\n\ndef load():\n    {body}")
    return {"python": "source_of_a_user:load"}


CASES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "source": lambda folder: {"source": "wine"},
    "npz": npz,
    "csv": csv,
    "parquet": parquet,
    "jsonl": jsonl,
    "images": images,
    "keras": keras,
    "python": python,
}
"""A small source of each kind: what it puts into the folder, and its section."""

TABLES = [key for key, kind in DATA_KINDS.items() if issubclass(kind, TableData)]


@pytest.fixture(params=DATA_KINDS)
def source(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataOptions:
    return section(request.param, tmp_path, monkeypatch)


def section(key: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> DataOptions:
    assert key in CASES, f"add a small source of the kind {key!r} to CASES"
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(folder))
    monkeypatch.setattr(keras_files, "validate_file", lambda *_, **__: True)  # a stand-in has another hash
    return DATA_KINDS[key].model_validate(CASES[key](folder))


def load(spec: DataOptions, folder: Path, **options: Any) -> Data:
    return load_data(spec, folder=folder, seed=0, **options)


def values(data: Data) -> list[np.ndarray]:
    parts = [data.train, data.validation, *([data.test] if data.test is not None else [])]
    return [np.asarray(part.x[:] if isinstance(part.x, Stored) else part.x) for part in parts]


def test_every_source_has_parts_of_whole_numbers_and_no_test_part_unless_asked_for(
    source: DataOptions, tmp_path: Path
) -> None:
    data, whole = load(source, tmp_path), load(source, tmp_path, with_test=True)
    assert data.test is None
    assert whole.test is not None
    for part, name in ((data.train, "train"), (data.validation, "validation"), (whole.test, "test")):
        assert len(part) == len(part.y) == data.rows[name] > 0
    assert all(np.isfinite(one).all() for one in values(whole))
    assert re.fullmatch(r"[0-9a-f]{64}", data.fingerprint)
    assert data.task in ("classes", "labels", "regression")


def test_every_source_is_read_alike_again_and_draws_from_no_generator_of_the_process(
    source: DataOptions, tmp_path: Path
) -> None:
    found = []
    for seed in (1, 2):
        np.random.seed(seed)
        tf.random.set_seed(seed)
        found.append(load(source, tmp_path))
    first, second = found
    assert first.fingerprint == second.fingerprint
    for one, other in zip(values(first), values(second), strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_source_holds_what_its_class_says(source: DataOptions, tmp_path: Path) -> None:
    data = load(source, tmp_path)
    x, known = values(data)[0], source.known
    dimensions = {"table": (2,), "pictures": (4,), "texts": (2,), "arrays": range(2, 9)}
    assert known.holds is not None
    assert x.ndim in dimensions[known.holds]
    assert known.holds == "table" or not isinstance(source, TableData)
    assert known.holds != "texts" or x.dtype.kind in "iu"
    assert known.called
    assert known.task in (None, data.task)
    assert known.classes in (None, len(data.labels or ()))
    assert training_rows(source) in (None, data.rows["train"])
    assert source.picture is None or x.shape[1:] == source.picture
    assert DATA_KINDS[source.key] is type(source)


def test_every_data_set_that_is_known_by_name_may_be_named(source: DataOptions) -> None:
    if source.sets:
        assert set(get_args(type(source).model_fields[source.key].annotation)) == set(source.sets)


@pytest.mark.parametrize("key", DATA_KINDS)
def test_every_kind_is_documented_has_its_reader_and_is_in_the_schema(key: str) -> None:
    kind = DATA_KINDS[key]
    page = (ROOT / "docs" / "experiment.md").read_text(encoding="utf-8").split("\n## data\n")[1].split("\n## ")[0]
    assert re.search(rf"^\| `{key}` \|", page, re.M), f"docs/experiment.md has no row for data.{key}"
    for name in kind.sets:
        assert f"`{name}`" in page
    schema = json.loads((ROOT / "configs" / "schema.json").read_text(encoding="utf-8"))
    assert {"$ref": f"#/$defs/{kind.__name__}"} in schema["properties"]["data"]["oneOf"]
    assert callable(load_row("hptune.training.data.sources", kind.reader))
    assert known_of({key: [1]}) == kind.about


@pytest.mark.parametrize("key", TABLES)
def test_every_format_of_tables_is_read_whole_as_piece_by_piece(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = section(key, tmp_path, monkeypatch)
    assert isinstance(spec, TableData)
    path = tmp_path / spec.file
    whole = open_table(type(spec), spec.file, path=path)
    assert whole.header == [*COLUMNS]
    pieces = list(sheets(type(spec), spec.file, path=path, names=["city", "a"], rows=7))
    assert len(pieces) == 9
    for name in ("city", "a"):
        assert cells(whole.column(name)) == [one for piece in pieces for one in cells(piece.column(name))]
    assert [whole.place(8), whole.key] == [pieces[1].place(1), key]
    with pytest.raises(SpecError, match="no such file: lost"):
        open_table(type(spec), "lost", path=tmp_path / "lost")


def cells(content: Any) -> list[str]:
    return [str(one) for one in getattr(content, "values", content)]


@pytest.mark.parametrize("key", TABLES)
def test_every_format_of_tables_is_known_by_its_suffix(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = section(key, tmp_path, monkeypatch)
    assert isinstance(spec, TableData)
    for suffix in spec.suffixes:
        assert table_format(suffix) == (key, type(spec))
    found = survey(tmp_path / spec.file, "y")
    assert (found.key, found.rows, [one.name for one in found.inputs]) == (key, 60, ["a", "city"])


MODELS = {
    "is for pictures": "{application: MobileNetV2, trainable: $n}",
    "changes pictures at random": "{layers: [Flatten, Dense: {units: $n}]}",
}


@pytest.mark.parametrize("words", MODELS)
def test_what_can_be_no_pictures_is_refused_of_every_kind(source: DataOptions, tmp_path: Path, words: str) -> None:
    given = {**source.model_dump(exclude_unset=True), **({"augment": {"flip": "both"}} if "random" in words else {})}
    space = "search_space: {n: {type: int, min: 1, max: 3}}"
    (tmp_path / "s.yaml").write_text(f"version: 1\ndata: {json.dumps(given)}\nmodel: {MODELS[words]}\n{space}\n")
    if source.known.holds in ("table", "texts"):
        with pytest.raises(SpecError, match=f"{words}, and {source.known.called} (is a table|holds texts)"):
            read_yaml(tmp_path / "s.yaml")
    else:
        read_yaml(tmp_path / "s.yaml")
