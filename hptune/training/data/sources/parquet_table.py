"""A table in a Parquet file. Its columns have types, so that nothing is guessed from their values.

Numbers and booleans are numbers (decimals without a fraction are integers), dates and timestamps (without a zone: UTC)
are dates; texts are read as in text files. Floats of 32 bits or fewer become float32.
Missing is null, NaN, and the words in `cells.MISSING`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hptune.base.errors import spec_error
from hptune.training.data.arrays import Array
from hptune.training.data.raw import unreadable
from hptune.training.data.table.cells import Content, Typed, integers, text_of

HELD_NUMBERS = 2**27
"""A table with more cells than this is not held in memory: its numbers go into files, column by column."""

_MICROSECONDS_A_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True, eq=False)
class ParquetSheet:
    """A file's table, whose columns are read when they are asked for.

    table: pyarrow's ParquetFile, or a Table or RecordBatch of some of its rows. start: its first row.
    """

    file: str
    header: list[str]
    table: Any
    start: int = 0
    key: str = "parquet"
    is_sparse: bool = False

    @property
    def is_large(self) -> bool:
        """Whether the table has more than `HELD_NUMBERS` cells."""
        rows: int = self.table.metadata.num_rows if hasattr(self.table, "metadata") else self.table.num_rows
        return rows * len(self.header) > HELD_NUMBERS

    def place(self, row: int) -> str:
        """`file: row N`, with rows counted from 1."""
        return f"{self.file}: row {self.start + row + 1}"

    def column(self, name: str) -> Content:
        """The cells of a column. Raises `SpecError` for a type other than numbers, dates or text."""
        whole = self.table.read([name]) if hasattr(self.table, "read") else self.table.select([name])
        return _content(whole.column(0), f"{self.file}: column {name!r}")


def _opened(file: str, path: Path) -> ParquetSheet:
    """The table of a Parquet file. file: the path as errors are to spell it. Raises `SpecError`."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        message = "needs the package pyarrow, which is not installed. Run: pip install 'hptune[parquet]'."
        raise spec_error(message, "data", "parquet") from error
    try:
        opened = parquet.ParquetFile(path)
    except pa.ArrowInvalid as error:
        message = f"{file} is no readable Parquet file ({str(error).splitlines()[0]}). Write it again."
        raise spec_error(message, "data", "parquet") from error
    except OSError as error:
        raise unreadable(file, path, error=error, key="parquet") from error
    names = list(opened.schema_arrow.names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        message = f"{file} names the column {twice[0]!r} more than once. Give each column its own name."
        raise spec_error(message, "data", "parquet")
    if not opened.metadata.num_rows:
        raise spec_error(f"{file} has no rows. Add rows.", "data", "parquet")
    return ParquetSheet(file, names, opened)


def parquet_sheets(
    file: str, path: Path, names: Sequence[str] | None, *, rows: int | None = None
) -> Iterator[ParquetSheet]:
    """The columns `names` of a Parquet file, as far as it has them; the `sheets` of `ParquetData`.

    Without `rows` the one sheet has every column, and reads each when it is asked for. Raises `SpecError`.
    """
    whole = _opened(file, path)
    if rows is None:
        yield whole
        return
    import pyarrow as pa

    start = 0
    wanted = whole.header if names is None else [name for name in names if name in whole.header]
    for batch in whole.table.iter_batches(rows, columns=wanted):
        yield ParquetSheet(file, whole.header, pa.Table.from_batches([batch]), start)
        start += batch.num_rows


def _content(column: Any, place: str) -> Content:
    """A pyarrow ChunkedArray as texts or numbers."""
    import pyarrow as pa
    from pyarrow import compute

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_null(kind):
        return [""] * len(column)
    if pa.types.is_string_view(kind):
        column, kind = column.cast(pa.string()), pa.string()
    if pa.types.is_boolean(kind):
        return Typed(_floats(column.cast(pa.int8()), pa.float32()), "boolean")
    if pa.types.is_integer(kind):
        return _integers(column, _floats(column, pa.float32() if kind.bit_width <= 16 else pa.float64()))
    if pa.types.is_decimal(kind):
        values = _floats(column.cast(pa.string()), pa.float64())  # pyarrow's own cast is off by a last bit
        try:
            return _integers(column.cast(pa.decimal256(76, 0)), values)
        except pa.ArrowInvalid:  # some have a fraction
            return Typed(values, "number", exact=_digits(column, values))
    if pa.types.is_floating(kind):
        values = _floats(column, pa.float32() if kind.bit_width <= 32 else pa.float64())
        return Typed(values, "number", own=np.float16 if kind.bit_width == 16 else None)
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        exact = _microseconds(column, place)
        days: Array = np.where(column.is_null().to_numpy(), np.nan, exact / _MICROSECONDS_A_DAY)
        return Typed(days, "date", exact=exact)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        coded = compute.dictionary_encode(column.fill_null("")).combine_chunks()  # each text is held once
        coded = coded if isinstance(coded, pa.DictionaryArray) else coded.chunk(0)
        texts = np.array([text_of(text) for text in coded.dictionary.to_pylist()], object)
        return texts[coded.indices.to_numpy(zero_copy_only=False)].tolist()  # type: ignore[no-any-return]
    message = f"{place} holds {kind}, and only numbers, booleans, dates and text can be used."
    raise spec_error(f"{message} Leave it out of data.features, or write it as one of them.", "data", "parquet")


def _microseconds(column: Any, place: str) -> Array:
    """int64 [n] since 1970-01-01 (UTC), 0 where one is missing; fractions of a microsecond are dropped.

    Raises `SpecError` for times that 64 bits can't hold, which pyarrow would wrap around.
    """
    import pyarrow as pa

    kind = column.type
    unit = "day" if kind == pa.date32() else getattr(kind, "unit", "ms")  # date64 counts milliseconds
    whole = column.cast(pa.int32() if unit == "day" else pa.int64()).fill_null(0)
    counts: Array = whole.to_numpy().astype(np.int64)
    if unit == "ns":
        return counts // 1000
    each = {"day": _MICROSECONDS_A_DAY, "s": 10**6, "ms": 10**3, "us": 1}[unit]
    most = (2**63 - 1) // each
    far = (counts > most) | (counts < -most)
    if far.any():
        first, rows = int(far.argmax()) + 1, int(far.sum())
        message = f"{place} holds dates more than 292,000 years from now in {rows} rows, first in row {first}: 64 bits"
        raise spec_error(f"{message} of microseconds don't hold them. Correct them.", "data", "parquet")
    return counts * each


def _integers(column: Any, values: Array) -> Typed:
    """values: the same as floats."""
    exact = None
    if (np.abs(values) >= 2.0**53).any():
        import pyarrow as pa

        known = column.fill_null(0)
        exact = known.to_numpy() if pa.types.is_integer(column.type) else integers([int(x) for x in known.to_pylist()])
    return Typed(values, "number", whole=True, exact=exact)


def _digits(column: Any, values: Array) -> Array | None:
    """Decimals with a fraction as texts, where two of them would be one float. values: the same as floats."""
    if len(column.drop_null().unique()) == len(np.unique(values[~np.isnan(values)])):
        return None
    texts = ["" if one is None else format(one, "f").rstrip("0").rstrip(".") for one in column.to_pylist()]
    return np.array(texts, object)


def _floats(column: Any, kind: Any) -> Array:
    """Floats with NaN for null. Integers above 2**53 are rounded."""
    values: Array = column.cast(kind, safe=False).fill_null(float("nan")).to_numpy()
    return values
