"""A table's preparation as stock Keras layers, so that an exported model takes raw rows.

One named input for each column: float32 [n, 1] for a number or a date (days since 1970-01-01; NaN: missing), strings
[n, 1] for a category or free text ("": missing). Every layer and operation is Keras's own and holds plain numbers and
words, so that `keras.models.load_model` needs nothing else, even in safe mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hptune.training.data.inputs import Encoding, Preparation
from hptune.training.data.raw import Column
from hptune.training.export.in_unit import in_float32, in_float64, needs_float64
from hptune.training.runtime import keras


def behind_raw_rows(model: Any, preparation: Preparation, rows: Sequence[Column]) -> Any:
    """A functional model over raw rows: the columns prepared as the training part's were, then `model` as one layer.

    rows: some of the rows as they were read, to see how exact their numbers are.
    """
    names = input_names([column.name for column in rows])
    divisor = np.broadcast_to(preparation.scale[1] if preparation.scale is not None else 1.0, _width(preparation))
    starts = np.cumsum([0, *(encoding.width for encoding in preparation.encodings)])
    scaled = preparation.scale is not None
    dtypes = [_dtype(column, divisor[start] if scaled else None) for column, start in zip(rows, starts, strict=False)]
    inputs = [keras().Input((1,), name=name, dtype=dtype) for name, dtype in zip(names, dtypes, strict=True)]
    prepared = _layers(preparation, dtypes)
    if model.compiled:  # the whole is: a part's own optimizer would be written and loaded beside the whole's
        model.compiled, model.optimizer = False, None
    for layer, name in ((prepared, "preparation"), (model, model.name)):
        layer.name = input_names([*names, name])[-1]  # a layer must not have a column's name
    return keras().Model(inputs, model(prepared(inputs)))


def input_names(columns: Sequence[str]) -> list[str]:
    """The names of the columns' inputs, in order: Keras takes no "/" in a name, and no name twice.

    >>> input_names(["age", "km/h", "km_h"])
    ['age', 'km_h', 'km_h_']
    """
    names: list[str] = []
    for column in columns:
        name = column.replace("/", "_")
        while name in names:
            name += "_"
        names.append(name)
    return names


def as_inputs(columns: Sequence[Column]) -> dict[str, Any]:
    """Columns as tensors [n, 1] by the names of their inputs; numbers in float64, which inputs cast to their type."""
    import tensorflow as tf

    names = input_names([column.name for column in columns])
    return {name: tf.constant(column.values.reshape(-1, 1)) for name, column in zip(names, columns, strict=True)}


def _width(preparation: Preparation) -> int:
    return sum(encoding.width for encoding in preparation.encodings)


def _dtype(column: Column, divisor: float | None) -> str:
    """The dtype of a column's input. divisor: the column's scale; None: it has none, so its deviation counts."""
    if column.kind in ("category", "text"):
        return "string"
    values = column.values[~np.isnan(column.values)]
    divisor = divisor if divisor is not None else float(np.std(values)) or 1.0
    return "float64" if needs_float64(values, divisor) else "float32"


def _layers(preparation: Preparation, dtypes: Sequence[str]) -> Any:
    """The preparation as a model from the columns to x, in float32 whatever the precision of training."""
    layers = keras().layers
    width = _width(preparation)
    offset, divisor = preparation.scale if preparation.scale is not None else (np.zeros(width), np.ones(width))
    offset, divisor = offset.copy(), divisor.copy()
    inputs = [keras().Input((1,), name=f"column_{i}", dtype=dtype) for i, dtype in enumerate(dtypes)]
    blocks, start = [], 0
    for value, encoding in zip(inputs, preparation.encodings, strict=True):
        block = _block(value, encoding)
        if value.dtype == "float64":  # brought into its unit before it becomes float32
            for layer in in_float64(offset[start], divisor[start]):
                block = layer(block)
            offset[start], divisor[start] = 0.0, 1.0
        blocks.append(block)
        start += encoding.width
    x = layers.Concatenate(dtype="float32")(blocks)
    if preparation.words:
        x = keras().ops.cast(x, "int32")
    elif preparation.scale is not None:
        for layer in in_float32(offset, divisor):
            x = layer(x)
    return keras().Model(inputs, x)


def _block(value: Any, encoding: Encoding) -> Any:
    """One column's raw values as `width` numbers: filled and encoded, not yet scaled."""
    if encoding.kind == "text":
        return _words(value, encoding)
    if encoding.kind == "category":
        return _one_hot(value, encoding)
    return value if encoding.fill is None else keras().ops.nan_to_num(value, nan=float(encoding.fill))


def _one_hot(value: Any, encoding: Encoding) -> Any:
    """A row of a fixed table for each text: one-hot for a category, all 0 for an unknown one, the fill's row for ""."""
    layers = keras().layers
    categories, width = encoding.categories, encoding.width
    vocabulary, table = [*categories], [np.zeros(width), *np.eye(width)]
    if encoding.fill is not None:
        vocabulary.append("")
        table.append(np.eye(width)[categories.index(str(encoding.fill))])
    other = "[UNK]"
    while other in vocabulary:
        other += "?"
    number = layers.StringLookup(vocabulary=vocabulary, num_oov_indices=1, oov_token=other)(value)
    rows = layers.Embedding(len(table), width, trainable=False, dtype="float32")
    encoded = layers.Reshape((width,))(rows(number))
    rows.set_weights([np.asarray(table, np.float32)])
    return encoded


def _words(value: Any, encoding: Encoding) -> Any:
    layers, vocabulary = keras().layers, encoding.vocabulary
    assert vocabulary is not None
    idf = {"idf_weights": [*vocabulary.idf]} if vocabulary.output_mode == "tf_idf" else {}
    length = {"output_sequence_length": vocabulary.length} if vocabulary.length is not None else {}
    words = [*vocabulary.words]
    made = layers.TextVectorization(output_mode=vocabulary.output_mode, vocabulary=words, **idf, **length)
    return layers.Reshape((encoding.width,))(made(value))
