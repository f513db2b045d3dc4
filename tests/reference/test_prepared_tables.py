"""Categories, missing values, dates and free text as the model gets them, beside pandas and scikit-learn."""

from __future__ import annotations

import string
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from hptune.training.data import load_data

from . import asked, plain
from .differences import close, same
from .draw import STRANGE, Array, cases, folder, holes, moderate, texts

ROWS = 48
NOTHING: Any = None
"""What NumPy's types don't take for a value of `where`."""
KINDS = st.sampled_from(["csv", "parquet"])


def read_as(
    where: Path, kind: str, frame: pd.DataFrame, read: dict[str, Any] | None = None, **options: Any
) -> tuple[asked.Given, pd.DataFrame]:
    """What hptune gives of a table with the columns of `frame`, and the table as pandas reads it."""
    table = asked.with_rows(frame).assign(y=np.sin(np.arange(len(frame)) * 1.7))
    named = asked.written(where, kind, table)
    found = asked.loaded(where, {**named, "target": "y", "task": "regression", **options}, rows=len(frame))
    return found, asked.plainly(where, kind, **(read or {}))


# --- categories ------------------------------------------------------------------------------------------------------


@cases(25)
@given(drawn=st.lists(texts(ROWS), min_size=1, max_size=3), kind=KINDS)
def test_categories_are_one_hot(drawn: list[Array], kind: str) -> None:
    frame = pd.DataFrame({f"c{i}": column for i, column in enumerate(drawn)})
    as_text = {"dtype": dict.fromkeys(frame.columns, str)}
    options = {"columns": dict.fromkeys(frame.columns, "category")}
    with folder() as where:
        found, read = read_as(where, kind, frame, as_text, **options)
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    names = list(frame.columns)
    wanted = encoder.fit(read[names].to_numpy(object)[found.train]).transform(read[names].to_numpy(object))
    same("categories", "scikit-learn OneHotEncoder", found.x[:, 1:], wanted[found.order])


@cases(15)
@given(drawn=texts(ROWS), gaps=holes(ROWS), kind=KINDS)
def test_a_missing_category_is_the_most_frequent(drawn: Array, gaps: Array, kind: str) -> None:
    frame = pd.DataFrame({"c": np.where(gaps, NOTHING, drawn)})
    with folder() as where:
        read = {"dtype": {"c": str}}
        found, table = read_as(where, kind, frame, read, columns={"c": "category"}, missing={"c": "most_frequent"})
    column = table[["c"]].astype(object).where(table[["c"]].notna(), np.nan).to_numpy()
    fill = SimpleImputer(strategy="most_frequent", keep_empty_features=True)
    made = make_pipeline(fill, OneHotEncoder(handle_unknown="ignore", sparse_output=False))
    wanted = made.fit(column[found.train]).transform(column)
    same("missing", "scikit-learn SimpleImputer", found.x[:, 1:], wanted[found.order])


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_name_is_seen_as_a_category_by_itself(tmp_path: Path, kind: str, name: str) -> None:
    """Without `columns`: the column's own texts say that it is none of numbers."""
    column = np.array(["north", "south", name] * (ROWS // 3), object)
    found, table = read_as(tmp_path, kind, pd.DataFrame({"c": column}), {"dtype": {"c": str}})
    dummies = pd.get_dummies(table["c"])
    wanted = dummies[sorted(dummies.columns)].to_numpy(float)[found.order]
    same("categories", "pandas get_dummies", found.x[:, 1:], wanted)


MISSING = ("NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "")


@pytest.mark.parametrize("word", [word for word in MISSING if word])
def test_a_spelling_is_missing_in_every_file_or_in_none(tmp_path: Path, word: str) -> None:
    column = np.array(["north", "south", word] * (ROWS // 3), object)
    widths = []
    for kind in ("csv", "parquet"):
        found, _ = read_as(tmp_path, kind, pd.DataFrame({"c": column}), missing="most_frequent")
        widths.append(found.x.shape[1])
    assert widths[0] == widths[1]


@pytest.mark.parametrize("blank", [" ", "\t", "\u00a0", "\u2003"])
def test_blanks_around_a_name_are_read_alike(tmp_path: Path, blank: str) -> None:
    column = np.array(["a", f"{blank}a", f"b{blank}"] * (ROWS // 3), object)
    widths = []
    for kind in ("csv", "parquet"):
        found, _ = read_as(tmp_path, kind, pd.DataFrame({"c": column}))
        widths.append(found.x.shape[1])
    assert widths[0] == widths[1]


# --- missing numbers -------------------------------------------------------------------------------------------------


@cases(25)
@given(drawn=moderate(ROWS), gaps=holes(ROWS), kind=KINDS, rule=st.sampled_from(["mean", "median", "most_frequent"]))
def test_missing_numbers_are_filled_from_the_training_part(drawn: Array, gaps: Array, kind: str, rule: str) -> None:
    rounded = np.round(drawn, 6) if rule == "most_frequent" else drawn
    frame = pd.DataFrame({"c": np.where(gaps, np.nan, rounded)})
    with folder() as where:
        found, table = read_as(where, kind, frame, missing={"c": rule}, columns={"c": "number"})
        raw, _ = read_as(where, kind, frame, missing={"c": rule}, columns={"c": "number"}, scale="none")
    column = table[["c"]].to_numpy(float)
    imputer = SimpleImputer(strategy=rule).fit(column[found.train])
    filled = imputer.transform(column)
    wanted = plain.standardised(filled, found.train)[found.order]
    size = np.maximum(np.abs(wanted), 1)
    if len(set(rounded.tolist())) > 1:  # constants have a test of their own
        close("missing", "scikit-learn SimpleImputer", found.x[:, 1:], wanted, unit=size, within=4e-6)
    fills = raw.x[gaps[raw.order], 1]
    same("missing", "scikit-learn SimpleImputer", fills, np.full(len(fills), imputer.statistics_[0], np.float32))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("value", [0.001, 0.1])
def test_a_constant_with_missing_values_is_0(tmp_path: Path, kind: str, value: float) -> None:
    column = np.full(ROWS, value)
    column[3::5] = np.nan
    found, _ = read_as(tmp_path, kind, pd.DataFrame({"c": column}), missing="mean")
    close("missing", "numpy", found.x[:, 1], np.zeros(len(found.x)), within=4e-6)


@cases(15)
@given(drawn=moderate(ROWS), gaps=holes(ROWS), more=holes(ROWS), kind=KINDS)
def test_rows_with_missing_values_are_dropped(drawn: Array, gaps: Array, more: Array, kind: str) -> None:
    frame = pd.DataFrame({"c": np.where(gaps, np.nan, drawn)})
    frame["d"] = [None if gone else f"x{i % 3}" for i, gone in enumerate(more)]
    with folder() as where:
        found, table = read_as(where, kind, frame, {"dtype": {"d": str}}, missing="drop")
    kept = table.dropna()
    same("missing", "pandas dropna", sorted(found.order.tolist()), kept["row"].tolist())
    wanted = plain.standardised(table["c"].to_numpy(float), found.train)[found.order]
    close("missing", "pandas dropna", found.x[:, 1], wanted, unit=np.maximum(np.abs(wanted), 1), within=4e-6)


@cases(10)
@given(number=moderate(ROWS), gaps=holes(ROWS), named=texts(ROWS), more=holes(ROWS), kind=KINDS)
def test_a_whole_table_as_a_column_transformer_makes_it(
    number: Array, gaps: Array, named: Array, more: Array, kind: str
) -> None:
    frame = pd.DataFrame({"a": np.where(gaps, np.nan, np.round(number, 9)), "b": np.where(more, NOTHING, named)})
    with folder() as where:
        found, table = read_as(
            where, kind, frame, {"dtype": {"b": str}}, columns={"b": "category"},
            missing={"a": "median", "b": "most_frequent"},
        )  # fmt: skip
    table["b"] = table["b"].astype(object).where(table["b"].notna(), np.nan)
    made = ColumnTransformer(
        [
            ("row", StandardScaler(), ["row"]),
            ("a", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), ["a"]),
            (
                "b",
                make_pipeline(
                    SimpleImputer(strategy="most_frequent"),
                    OneHotEncoder(handle_unknown="ignore", sparse_output=False),
                ),
                ["b"],
            ),
        ]
    )
    wanted = made.fit(table.iloc[found.train]).transform(table)[found.order]
    if len(set(table["a"].iloc[found.train].dropna())) > 1:
        size = np.maximum(np.abs(wanted), 1)
        close("whole tables", "scikit-learn ColumnTransformer", found.x, wanted, unit=size, within=4e-6)


# --- booleans and dates ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_booleans_are_1_and_0(tmp_path: Path, kind: str) -> None:
    frame = pd.DataFrame({"c": np.random.default_rng(0).random(ROWS) < 0.4})
    found, table = read_as(tmp_path, kind, frame, scale="none")
    same("booleans and dates", "pandas", found.x[:, 1], table["c"].to_numpy(float)[found.order])


ZONES = (None, UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-11)))


@cases(20)
@given(
    first=st.datetimes(datetime(1600, 1, 1), datetime(2200, 1, 1)),
    step=st.sampled_from([timedelta(days=1), timedelta(hours=7, seconds=1), timedelta(microseconds=1)]),
    zone=st.sampled_from(ZONES),
    kind=KINDS,
)
def test_dates_are_days_since_1970(first: datetime, step: timedelta, zone: timezone | None, kind: str) -> None:
    random = np.random.default_rng(0)
    moments = [(first + int(k) * step).replace(tzinfo=zone) for k in random.permutation(ROWS)]
    frame = pd.DataFrame({"c": [one.isoformat() for one in moments]})
    if kind == "parquet":
        frame["c"] = pd.Series(moments, dtype="datetime64[us]" if zone is None else f"datetime64[us, {zone}]")
    with folder() as where:
        found, table = read_as(where, kind, frame)
    moment = pd.to_datetime(table["c"], utc=True, format="ISO8601").dt.as_unit("us")
    micros = moment.astype("int64").to_numpy()
    wanted = plain.standardised(micros.astype(np.longdouble) / 86_400_000_000, found.train)[found.order]
    far = float(np.abs(micros).max() / max(micros.std(), 1))
    unit = np.maximum(np.abs(wanted), 1) * max(1.0, far * 1e-9)
    close("booleans and dates", "pandas to_datetime", found.x[:, 1], wanted, unit=unit, within=4e-6)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns", "date"])
def test_every_unit_of_time_in_parquet(tmp_path: Path, unit: str) -> None:
    days = np.random.default_rng(0).integers(-40_000, 40_000, ROWS)
    moments = (days.astype("datetime64[D]")).astype("datetime64[D]" if unit == "date" else f"datetime64[{unit}]")
    table = pd.DataFrame({"row": np.arange(ROWS), "c": moments, "y": np.sin(np.arange(ROWS))})
    if unit == "date":
        table["c"] = [one.item() for one in moments]
    named = asked.written(tmp_path, "parquet", table)
    found = asked.loaded(tmp_path, {**named, "target": "y", "task": "regression", "scale": "none"}, rows=ROWS)
    same("booleans and dates", "numpy datetime64", found.x[:, 1], days.astype(np.float32)[found.order])


# --- free text -------------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(["a", "A", "the", "The,", "über", "ÜBER", "don't", "x-y", "...", "42", "café", "日本", "q\tz"])


def words_of(text: str) -> list[str]:
    """Lower case of A to Z alone, without punctuation, cut at white space."""
    lower = str.maketrans(string.ascii_uppercase, string.ascii_lowercase, string.punctuation)
    return text.translate(lower).split()


@cases(15)
@given(
    said=st.lists(st.lists(WORDS, max_size=5).map(" ".join), min_size=ROWS, max_size=ROWS),
    mode=st.sampled_from(["multi_hot", "count", "tf_idf"]),
    most=st.sampled_from([3, 1000]),
    kind=KINDS,
)
def test_words_are_counted(said: list[str], mode: str, most: int, kind: str) -> None:
    said = ["a the", *said[1:-1], "the"]
    options = {"kind": "text", "output_mode": mode, "max_tokens": most}
    with folder() as where:
        named = {"dtype": {"c": str}}
        found, table = read_as(where, kind, pd.DataFrame({"c": said}), named, columns={"c": options})
    told = table["c"].fillna("").tolist()
    training = [told[row] for row in found.train]
    often = Counter(word for text in training for word in words_of(text))
    known = sorted(often, key=lambda word: (often[word], word), reverse=True)[: most - 1]
    vectorizer = CountVectorizer(vocabulary={word: i for i, word in enumerate(known)}, analyzer=words_of)
    counts = vectorizer.transform(told).toarray().astype(float)
    unknown = np.array([len(words_of(text)) for text in told]) - counts.sum(axis=1)
    wanted = np.column_stack([unknown, counts])
    if mode == "multi_hot":
        wanted = np.minimum(wanted, 1)
    if mode == "tf_idf":  # log(1 + n / (1 + df)), as Keras has it: scikit-learn's is log((1 + n) / (1 + df)) + 1
        fitted = TfidfTransformer(norm=None).fit(counts[found.train])
        having = (1 + len(training)) / np.exp(fitted.idf_ - 1) - 1
        idf = np.log(1 + len(training) / (1 + having))
        wanted = wanted * np.concatenate([[idf.mean()], idf])
    close("free text", "scikit-learn CountVectorizer", found.x[:, 1:], wanted[found.order], within=2e-6)


def test_categories_that_training_has_not_are_counted(tmp_path: Path) -> None:
    """The last quarter of the time is validation and test; two of its rows are of a city that is new then."""
    city = np.array(["Oslo", "Lima"], object)[np.arange(ROWS) % 2]
    city[[-1, -ROWS // 4]] = "Bergen"
    frame = pd.DataFrame({"t": np.arange(ROWS), "city": city, "y": np.sin(np.arange(ROWS))})
    options = {**asked.written(tmp_path, "csv", frame), "target": "y", "time": "t", "features": ["city"]}
    found = load_data(asked.spec_of(options), folder=tmp_path, seed=0)
    others = found.rows["validation"] + found.rows["test"]
    new = int((frame["city"].iloc[found.rows["train"] :] == "Bergen").sum())
    assert new == 2
    told = f"column 'city': 2 of {others} rows that are not trained on have a category that the training part lacks"
    assert any(note.startswith(f"{told} ('Bergen').") for note in found.notes)
