"""The `data` section: where the samples come from and how they are split and scaled.

What is new takes a class here, with what holds of it, a module in `hptune/training/data/sources/`, and a row in
`DATA_KINDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias, Union

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from hptune.experiment.base import Count, Side, Spec, whole
from hptune.experiment.space.references import Searchable

Share: TypeAlias = Annotated[float, Field(gt=0, lt=1)]

Words: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000), BeforeValidator(whole)]
"""Words that are known."""

Length: TypeAlias = Annotated[int, Field(ge=1, le=100_000), BeforeValidator(whole)]
"""Words that are kept of a text."""

Strength: TypeAlias = Annotated[float, Field(ge=0, le=1)]


class Augment(Spec):
    """Pictures changed at random, in training only. What is left out is not done.

    Each strength s is the largest change, drawn anew for each picture from −s to s (Keras's random layers).
    """

    flip: Searchable[Literal["horizontal", "vertical", "both"]] | None = None
    translate: Searchable[Strength] | None = None
    """As a share of the height and of the width."""
    rotate: Searchable[Strength] | None = None
    """As a share of a full turn."""
    zoom: Searchable[Strength] | None = None
    """As a share of the size."""
    contrast: Searchable[Strength] | None = None
    """As a share of the distance from the mean."""
    brightness: Searchable[Strength] | None = None
    """As a share of the range of values."""
    export: bool = False
    """Whether the exported model holds these layers too; they do nothing in prediction."""


Task: TypeAlias = Literal["classes", "labels", "regression"]

ClassWeights: TypeAlias = Annotated[dict[str, Annotated[float, Field(gt=0)]], Field(min_length=1)]

Holds: TypeAlias = Literal["table", "pictures", "texts", "arrays"]
"""What samples are: rows of columns, pictures, texts as the numbers of their words, or arrays of any kind."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of samples before they are read; None where only the data can say.

    called: in messages. rows: how many samples there are. task, classes: what the target is, and how many classes.
    """

    called: str = ""
    holds: Holds | None = None
    rows: int | None = None
    task: Task | None = None
    classes: int | None = None


class DataOptions(Spec):
    """A source of data as the YAML has it: what holds of it is said here, and nowhere else.

    reader: `module:function` in `hptune/training/data/sources/`, which is given the section and a `Reading`.
    about: what is known of every such source. sets: of those that it knows by name; {} where it knows none.
    """

    reader: ClassVar[str]
    about: ClassVar[Known] = Known()
    sets: ClassVar[Mapping[str, Known]] = {}

    validation: Share = 0.2
    """The part of all samples that scores a trial."""
    test: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """The part that no search sees; only train-best measures on it."""
    task: Task | None = None
    """What the target is (labels: several at once, each 0 or 1); seen from the target unless given."""
    scale: Literal["auto", "none", "standardize", "unit"] = "auto"
    """auto: tables, and the channels of `images`, standardised on the training part; other pictures to [0, 1]."""
    one_hot: bool = False
    """Integer labels as one-hot rows, for losses that want them."""
    class_weight: Literal["balanced"] | ClassWeights | None = None
    """How much a sample counts in training by its class; balanced: every class as much as another in all."""
    limit: Count | None = None
    """Only the first N samples of a seeded shuffle."""
    stream: Literal["auto"] | bool = "auto"
    """Whether samples are read from the disk batch by batch; auto: where they would take more than 1 GiB of memory."""
    augment: Augment | None = None
    """For pictures only."""

    @property
    def key(self) -> str:
        """The key that says which kind of data it is."""
        return next(key for key, kind in DATA_KINDS.items() if type(self) is kind)

    @property
    def known(self) -> Known:
        """What is known of the samples before they are read."""
        return known_of({self.key: getattr(self, self.key)})

    @property
    def function(self) -> str | None:
        """The user's function that brings the samples, as `module:name`; None where none does."""
        return None

    @property
    def picture(self) -> tuple[int, int, int] | None:
        """The height, width and channels that its picture files are decoded to; None where it has none."""
        return None

    @property
    def array(self) -> str:
        """What a .npz file of such samples calls them."""
        return "x"

    @property
    def weights_key(self) -> str | None:
        """The key of the section that sample weights come by; None where there are none."""
        return None

    def may_drop(self, feature: str) -> bool:  # noqa: ARG002  # which most kinds don't look at
        """Whether samples are left out in which this feature is missing."""
        return False

    @model_validator(mode="after")
    def _check(self) -> DataOptions:
        if self.validation + self.test >= 1:
            parts = f"validation {self.validation} + test {self.test}"
            raise PydanticCustomError("split", f"{parts} must be below 1, so that a training part is left. Lower one.")
        return self


def _by_name(*sets: Known) -> dict[str, Known]:
    return {known.called: known for known in sets}


class SourceData(DataOptions):
    """A data set inside scikit-learn: no download."""

    reader: ClassVar[str] = "sklearn_sets:read_source"
    sets: ClassVar[Mapping[str, Known]] = _by_name(
        Known("digits", "pictures", 1797, "classes", 10),
        Known("iris", "table", 150, "classes", 3),
        Known("wine", "table", 178, "classes", 3),
        Known("breast_cancer", "table", 569, "classes", 2),
        Known("diabetes", "table", 442, "regression"),
    )

    source: Literal["digits", "iris", "wine", "breast_cancer", "diabetes"]


class NpzData(DataOptions):
    """Arrays in a .npz file."""

    reader: ClassVar[str] = "npz:read_npz"
    about: ClassVar[Known] = Known("a .npz file", "arrays")

    npz: str
    x: str = "x"
    y: str = "y"

    @property
    def array(self) -> str:
        """What the file calls the samples: the section's `x`."""
        return self.x


Kind: TypeAlias = Literal["number", "date", "category", "text"]
"""How a table's column is read: numbers; dates, as days since 1970-01-01; text one-hot encoded; or free text."""
WordsAs: TypeAlias = Literal["multi_hot", "count", "tf_idf", "int"]


class TextColumn(Spec):
    """A column of free text, which becomes numbers as keras.layers.TextVectorization makes them."""

    kind: Literal["text"]
    max_tokens: Words = 1000
    """The vocabulary's size: the training part's most frequent words and the unknown word, with int the filling too."""
    output_mode: WordsAs = "multi_hot"
    """multi_hot: which words occur; count: how often; tf_idf: how often, rare words counting more; int: their order."""
    length: Length | None = None
    """With int: how many words are kept of a text."""

    @model_validator(mode="after")
    def _check_length(self) -> TextColumn:
        if (self.output_mode == "int") != (self.length is not None):
            needed = "output_mode: int needs length:, how many words are kept of a text. Add it."
            message = needed if self.length is None else "length is for output_mode: int alone. Drop it, or say int."
            raise PydanticCustomError("length", "{message}", {"message": message})
        if self.most_words < 1:
            least = self.max_tokens - self.most_words + 1
            message = f"max_tokens must be at least {least}, which leaves room for one word. Raise it."
            raise PydanticCustomError("max_tokens", "{message}", {"message": message})
        return self

    @property
    def most_words(self) -> int:
        """Beside the unknown word, and with int what texts are filled with."""
        return self.max_tokens - (2 if self.output_mode == "int" else 1)


class TableData(DataOptions):
    """A table in a file: named columns, one row a sample.

    sheets: `module:function` in `hptune/training/data/sources/`, which reads such a file (see `table_files.py`).
    suffixes: what the names of such files end with, the usual one first.
    """

    reader: ClassVar[str] = "table_files:read_table_file"
    sheets: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]

    target: str | Annotated[list[str], Field(min_length=1)]
    """The column to predict; or a list of columns of numbers, for several outputs or for labels of 0 and 1."""
    features: list[str] | None = None
    """The columns that are the input; every column that has no other part unless given."""
    columns: dict[str, Kind | TextColumn] = {}  # noqa: RUF012  # pydantic copies it
    """How a column is read, where that is not to be seen from its values."""
    missing: Any = None
    """What to do with missing values: drop, mean, median or most_frequent, for all or by column; else an error."""

    sample_weight: str | None = None
    """A column of numbers of at least 0: how much each row counts in the loss."""
    group: str | None = None
    """A column whose equal values stay together: no group has rows in two parts."""
    time: str | None = None
    """A column of dates or numbers: training lies before validation, and validation before test."""

    @property
    def file(self) -> str:
        """The table's path, as the YAML has it."""
        return str(getattr(self, self.key))

    @property
    def weights_key(self) -> str | None:
        """`sample_weight` where the section names such a column, else None."""
        return None if self.sample_weight is None else "sample_weight"

    def may_drop(self, feature: str) -> bool:
        """Whether `missing: drop` holds for this column, by itself or for all."""
        return (self.missing.get(feature) if isinstance(self.missing, dict) else self.missing) == "drop"

    @model_validator(mode="after")
    def _check_parts(self) -> TableData:
        if self.group is not None and self.time is not None:
            raise PydanticCustomError("parts", "group and time can't stand together: each says how to split. Keep one.")
        return self

    @model_validator(mode="after")
    def _check_missing(self) -> TableData:
        rules = ("drop", "mean", "median", "most_frequent")
        by_column = (self.missing or {}) if isinstance(self.missing, dict | None) else {"": self.missing}
        for column, rule in by_column.items():
            if rule not in rules:
                where = f" for {column!r}" if column else ""
                message = f"missing must be one of {', '.join(rules)}{where}, got {rule!r}."
                raise PydanticCustomError("rule", message)  # "missing" is pydantic's own, of keys
        return self


class CsvData(TableData):
    """A table in a text file with a header line."""

    about: ClassVar[Known] = Known("a CSV file", "table")
    sheets: ClassVar[str] = "csv_table:csv_sheets"
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".txt")

    csv: str


class ParquetData(TableData):
    """A table in a Parquet file."""

    about: ClassVar[Known] = Known("a Parquet file", "table")
    sheets: ClassVar[str] = "parquet_table:parquet_sheets"
    suffixes: ClassVar[tuple[str, ...]] = (".parquet", ".pq")

    parquet: str


class JsonLinesData(TableData):
    """A table of JSON Lines."""

    about: ClassVar[Known] = Known("a file of JSON Lines", "table")
    sheets: ClassVar[str] = "json_table:json_sheets"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson")

    jsonl: str


class ImagesData(DataOptions):
    """Pictures in files: a folder with a folder for each class, or a CSV file that names them."""

    reader: ClassVar[str] = "images:read_images"
    about: ClassVar[Known] = Known("picture files", "pictures")

    images: str
    size: Annotated[list[Side], Field(min_length=2, max_length=2)]
    """Height and width that every picture is brought to."""
    channels: Literal[1, 3] = 3
    path: str | None = None
    """With a CSV file: the column that names each picture's file."""
    target: str | None = None
    """With a CSV file: the column to predict."""
    missing: Literal["drop"] | None = None
    """What to do with files that can't be decoded: drop; else an error."""

    @property
    def picture(self) -> tuple[int, int, int]:
        """(height, width, channels), as `size` and `channels` say."""
        return (self.size[0], self.size[1], self.channels)

    def may_drop(self, feature: str) -> bool:  # noqa: ARG002  # a file has one
        """Whether `missing: drop` leaves out pictures that can't be decoded."""
        return self.missing == "drop"

    @model_validator(mode="after")
    def _check_columns(self) -> ImagesData:
        if (self.path is None) != (self.target is None):
            message = "path and target go together: they are the columns of the CSV file that names the pictures."
            raise PydanticCustomError(
                "columns", "{message}", {"message": f"{message} Name both, or neither for a folder."}
            )
        return self


class KerasData(DataOptions):
    """A data set of keras.datasets, which its loader downloads where Keras's cache has it not."""

    reader: ClassVar[str] = "keras_sets:read_keras"
    sets: ClassVar[Mapping[str, Known]] = _by_name(
        *(Known(name, "pictures") for name in ("mnist", "fashion_mnist", "cifar10", "cifar100")),
        *(Known(name, "texts") for name in ("imdb", "reuters")),
        *(Known(name, "table") for name in ("california_housing", "boston_housing")),
    )

    keras: Literal[
        "mnist", "fashion_mnist", "cifar10", "cifar100", "imdb", "reuters", "california_housing", "boston_housing"
    ]
    parts: Literal["own", "pooled"] = "own"
    """own: the loader's test samples are the test part; pooled: all samples are split by validation and test."""
    num_words: Words = 10_000
    """imdb, reuters: the size of the vocabulary, which has the most frequent words."""
    maxlen: Length = 200
    """imdb, reuters: how many words of each text are kept, the last ones."""

    @model_validator(mode="after")
    def _check_parts(self) -> KerasData:
        if self.parts == "own" and self.test != type(self).model_fields["test"].default:
            message = (
                f"{self.keras} brings its own test part, so that test has no effect. Drop it, or say parts: pooled."
            )
            raise PydanticCustomError("parts", "{message}", {"message": message})
        return self

    @model_validator(mode="after")
    def _check_texts(self) -> KerasData:
        changed = [key for key in ("num_words", "maxlen") if getattr(self, key) != type(self).model_fields[key].default]
        if changed and self.known.holds != "texts":
            texts = " and ".join(name for name, known in self.sets.items() if known.holds == "texts")
            message = f"{changed[0]} is for {texts}, and this is {self.keras}. Drop it."
            raise PydanticCustomError("texts", "{message}", {"message": message})
        return self


class PythonData(DataOptions):
    """A function of yours, which returns arrays or tf.data.Datasets."""

    reader: ClassVar[str] = "python_source:read_python"
    about: ClassVar[Known] = Known("a function's", "arrays")

    python: str
    steps_per_epoch: Count | None = None
    """Of a training tf.data.Dataset: how many of its own elements (batches) make an epoch; all of them unless given."""
    validation_steps: Count | None = None
    """The same of the validation tf.data.Dataset."""

    @property
    def function(self) -> str:
        """The function, as `module:name`."""
        return self.python

    @property
    def weights_key(self) -> str:
        """Always `python`: the function may return weights."""
        return "python"


DATA_KINDS: dict[str, type[DataOptions]] = {
    "source": SourceData,
    "npz": NpzData,
    "csv": CsvData,
    "parquet": ParquetData,
    "jsonl": JsonLinesData,
    "images": ImagesData,
    "keras": KerasData,
    "python": PythonData,
}
"""The key that says which kind of data a section is -> its class."""

if TYPE_CHECKING:
    DataSpec: TypeAlias = DataOptions
else:
    DataSpec: TypeAlias = Union[tuple(DATA_KINDS.values())]  # noqa: UP007  # of a table


def table_format(suffix: str) -> tuple[str, type[TableData]] | None:
    """The key and the class of the tables in files whose names end so (".csv", in small letters); None: no tables."""
    tables = ((key, kind) for key, kind in DATA_KINDS.items() if issubclass(kind, TableData))
    return next(((key, kind) for key, kind in tables if suffix in kind.suffixes), None)


def known_of(section: Mapping[str, Any]) -> Known:
    """What is known of the samples of a `data` section before they are read. section: its keys, right or wrong."""
    for key, kind in DATA_KINDS.items():
        if key in section:
            name = section[key]
            return kind.sets.get(name, kind.about) if isinstance(name, str) else kind.about
    return Known()


# --- how many samples there are -------------------------------------------------------------------------------------


def part_sizes(rows: int, *, validation: float, test: float) -> tuple[int, int, int]:
    """(train, validation, test): both shares are of all rows, rounded, and at least one row where above 0.

    >>> part_sizes(1797, validation=0.2, test=0.2)
    (1079, 359, 359)
    """
    held = max(1, round(rows * test)) if test else 0
    scored = max(1, round(rows * validation))
    return rows - scored - held, scored, held
