"""A table's preparation as stock layers: raw rows give what the prepared ones give, from a file too."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hptune.experiment.data import TextColumn
from hptune.training.data.inputs import Preparation, learn
from hptune.training.data.raw import Column, Raw, take
from hptune.training.export.raw_rows import as_inputs, behind_raw_rows, input_names
from hptune.training.runtime import keras

ROWS = 40


def column(name: str, kind: Any, values: list[Any], fill: Any = None, words: TextColumn | None = None) -> Column:
    made = np.array(values, object if isinstance(values[0], str) else np.float64)
    return Column(name, kind, made, fill, words)


def draw() -> np.random.Generator:
    return np.random.default_rng(0)


def holes(values: list[Any], missing: Any) -> list[Any]:
    return [missing if i % 7 == 3 else value for i, value in enumerate(values)]


NUMBER = column("age", "number", draw().normal(40, 12, ROWS).tolist())
GAPS = column("income (k€/y)", "number", holes(draw().normal(5e4, 900, ROWS).tolist(), np.nan), "median")
DAYS = column("joined", "date", draw().integers(20_000, 20_365, ROWS).astype(float).tolist())
TIMES = column("seen", "date", holes((20_000 + draw().random(ROWS)).tolist(), np.nan), "mean")
CITIES = ["Oslo", "Lima", 'a "quoted", one', "two\nlines", "São Paulo"]
CITY = column("city", "category", draw().choice(CITIES, ROWS).tolist())
COLOUR = column("dense", "category", holes(draw().choice(["red", "blue"], ROWS).tolist(), ""), "most_frequent")
SAID = ["Good, very GOOD", "it's bad", "", "  so\tso ", "très bon"]


def text(**options: Any) -> Column:
    return column("review", "text", draw().choice(SAID, ROWS).tolist(), words=TextColumn(kind="text", **options))


def prepared(columns: tuple[Column, ...], scale: Any = "auto", train: int = 30) -> Preparation:
    names = tuple(one.name for one in columns)
    return learn(Raw(columns, np.zeros(ROWS), names, ("data",), ("data",)), np.arange(train), scale=scale)


def core(width: int, dtype: str = "float32") -> Any:
    """Weights of about 1, so that an error in x is one in what comes out."""
    keras().utils.set_random_seed(0)
    front = [keras().layers.Embedding(40, 1), keras().layers.Flatten()] if dtype == "int32" else []
    return keras().Sequential([keras().Input((width,), dtype=dtype), *front, keras().layers.Dense(3)])


TABLES = {
    "numbers": (NUMBER, GAPS),
    "one column": (NUMBER,),
    "dates": (DAYS, TIMES),
    "categories": (CITY, COLOUR, NUMBER),
    "one category": (COLOUR,),
    "multi_hot": (text(), NUMBER),
    "count": (text(output_mode="count", max_tokens=3), CITY),
    "tf_idf": (text(output_mode="tf_idf"),),
    "int": (text(output_mode="int", length=3),),
    "everything": (NUMBER, GAPS, DAYS, TIMES, CITY, COLOUR, text(output_mode="tf_idf")),
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("scale", ["auto", "unit", "none"])
def test_raw_rows_give_what_prepared_rows_give(table: str, scale: str, tmp_path: Path) -> None:
    columns = TABLES[table]
    preparation = prepared(columns, scale)
    x = preparation(columns, np.arange(ROWS))
    model = core(x.shape[1], x.dtype.name)
    whole = behind_raw_rows(model, preparation, take(columns, np.arange(30)))  # type: ignore[arg-type]
    wanted = np.asarray(model(x))
    limit = 1e-5 * max(1.0, float(np.abs(wanted).max()))
    np.testing.assert_allclose(np.asarray(whole(as_inputs(columns))), wanted, atol=limit)
    if scale == "auto":
        whole.save(tmp_path / "model.keras")
        loaded = keras().models.load_model(tmp_path / "model.keras")
        assert [one.name for one in loaded.inputs] == input_names([one.name for one in columns])
        np.testing.assert_allclose(np.asarray(loaded(as_inputs(columns))), wanted, atol=limit)
        told = loaded.predict(as_inputs(columns), verbose=0)  # in float32, whatever the inputs say
        np.testing.assert_allclose(told, wanted, atol=1e-2 if TIMES in columns else limit)


def test_a_category_that_was_not_there_is_none_of_them() -> None:
    columns = (CITY,)
    preparation = prepared(columns)
    width = len(preparation.encodings[0].categories)
    model = core(width)
    strange = (column("city", "category", ["Rome", "", "Oslo"]),)
    told = np.asarray(behind_raw_rows(model, preparation, columns)(as_inputs(strange)))
    np.testing.assert_allclose(told[:2], np.asarray(model(np.zeros((2, width), "f4"))), atol=1e-6)
    assert not np.allclose(told[2], told[0])


def test_a_date_is_taken_in_float32_and_a_time_of_day_in_float64() -> None:
    whole = behind_raw_rows(core(2), prepared((DAYS, TIMES)), (DAYS, TIMES))
    assert [one.dtype for one in whole.inputs] == ["float32", "float64"]


def test_columns_may_be_called_as_layers_are() -> None:
    """Keras takes no name twice."""
    columns = tuple(column(name, "number", NUMBER.values.tolist()) for name in ("sequential", "preparation", "dense"))
    preparation = prepared(columns)
    model = core(3)
    whole = behind_raw_rows(model, preparation, columns)
    assert [one.name for one in whole.inputs] == ["sequential", "preparation", "dense"]
    assert len({layer.name for layer in whole.layers}) == 5


def test_a_part_that_was_compiled_brings_no_optimizer_along(tmp_path: Path) -> None:
    """Loading would warn that its variables don't fit."""
    model = core(1)
    model.compile("adam", "mse")
    whole = behind_raw_rows(model, prepared((NUMBER,)), (NUMBER,))
    whole.save(tmp_path / "model.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        keras().models.load_model(tmp_path / "model.keras")
