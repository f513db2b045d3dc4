"""The samples of the cases: small arrays of every shape that a layer asks for, the same in every process.

44 training rows make two whole batches of 16 and one of 12; 20 validation rows make one whole and one of 4.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

ROWS = {"train": 44, "validation": 20, "test": 12}
"""Rows of each part."""

CLASSES = 4

SHAPES: Mapping[str, tuple[int, ...]] = {
    "dense": (6,),
    "sequence": (4, 3),
    "sequence5": (5, 3),
    "long": (16, 4),
    "picture": (8, 8, 2),
    "rgb": (8, 8, 3),
    "volume": (4, 4, 4, 1),
    "strips": (3, 5, 2),
    "video": (3, 5, 5, 2),
    "volumes": (2, 3, 3, 3, 1),
    "audio": (64,),
    "one": (1,),
    "wide": (2, 64),
    "numbers": (5,),
    "number": (1,),
    "masked": (5, 3),
}
"""Shape of one sample by the kind of input; `numbers` and `number` are whole numbers in 0..9."""


def inputs(kind: str, rows: int, generator: np.random.Generator) -> Array:
    """x of that kind: float32, or int32 where the kind is whole numbers."""
    shape = (rows, *SHAPES[kind])
    if kind in ("numbers", "number"):
        return generator.integers(0, 10, shape).astype(np.int32)
    x = generator.normal(size=shape)
    if kind == "rgb":  # what pictures hold; the layers that change colours cut off the rest
        x = np.clip(128 + 40 * x, 0, 255)
    if kind == "masked":  # the last steps of some samples are nothing but zeros
        x[np.arange(shape[1])[None, :] >= generator.integers(2, shape[1] + 1, rows)[:, None]] = 0.0
    return x.astype(np.float32)


def _signal(x: Array) -> Array:
    """float64 [n]: what the targets follow, of about unit scale."""
    flat = x.reshape(len(x), -1).astype(np.float64)
    flat = (flat - flat.mean()) / (flat.std() + 1e-9)
    signal: Array = flat @ np.cos(np.arange(flat.shape[1])) / np.sqrt(flat.shape[1])
    return signal


def _classes(x: Array, generator: np.random.Generator) -> Array:
    """int32 [n] in 0..3, every one of which occurs."""
    rank = np.argsort(np.argsort(_signal(x) + 0.3 * generator.normal(size=len(x))))
    return (rank * CLASSES // len(x)).astype(np.int32)


def _number(x: Array, generator: np.random.Generator) -> Array:
    return (30 * _signal(x) + 100 + 5 * generator.normal(size=len(x))).astype(np.float32)


def _distribution(x: Array, generator: np.random.Generator) -> Array:
    rows: Array = np.exp(generator.normal(size=(len(x), CLASSES)))
    return np.asarray(rows / rows.sum(1, keepdims=True), np.float32)


TARGETS: Mapping[str, Callable[[Array, np.random.Generator], Array]] = {
    "classes": _classes,
    "onehot": lambda x, g: np.eye(CLASSES, dtype=np.float32)[_classes(x, g)],
    "binary": lambda x, g: (_classes(x, g) % 2).astype(np.int32),
    "labels": lambda x, g: np.stack([_classes(x, g) % 2, _classes(x, g) // 2, _classes(x, g) > 0], 1).astype(
        np.float32
    ),
    "signs": lambda x, g: (_classes(x, g) % 2 * 2 - 1).astype(np.float32),
    "distribution": _distribution,
    "number": _number,
    "small": lambda x, g: (_signal(x) + 0.1 * g.normal(size=len(x))).astype(np.float32),
    "positive": lambda x, g: np.exp(0.5 * _signal(x) + 0.1 * g.normal(size=len(x))).astype(np.float32),
    "two": lambda x, g: np.stack([_number(x, g), _number(x, g) / 7], 1).astype(np.float32),
    "two_small": lambda x, g: np.stack([_signal(x), np.sin(_signal(x)) + 0.1 * g.normal(size=len(x))], 1).astype(
        np.float32
    ),
}
"""y by the kind of target, from x and a generator."""

Part: TypeAlias = tuple[Array, ...]
"""(x, y) or (x, y, sample_weight)."""


@cache
def parts(x: str, y: str, *, weighted: bool = False) -> Mapping[str, Part]:
    """The three parts of these kinds of input and target."""
    found: dict[str, Part] = {}
    for number, (name, rows) in enumerate(ROWS.items()):
        generator = np.random.default_rng([number, len(x), len(y)])
        inputs_ = inputs(x, rows, generator)
        part: Part = (inputs_, TARGETS[y](inputs_, generator))
        if weighted:
            part = (*part, generator.uniform(0.0, 3.0, rows).astype(np.float32))
        found[name] = part
    return found


MODULE = """\
import numpy as np

def _parts():
    with np.load({file!r}) as file:
        return [tuple(file[f"{{part}}.{{i}}"] for i in range({width})) for part in ("train", "validation", "test")]

def arrays():
    return tuple(_parts())

def flows():
    import tensorflow as tf
    return tuple(tf.data.Dataset.from_tensor_slices(part) for part in _parts())
{code}"""

OWN = """
def squared(y_true, y_pred):
    import keras
    return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)
"""
"""A loss as users write their own."""


def write(folder: Path, x: str, y: str, *, weighted: bool = False) -> str:
    """Put the samples and a module that returns them into `folder`; the module's name."""
    place = zlib.crc32(str(folder.resolve()).encode())  # a process imports a module of one name once
    name = f"samples_{x}_{y}{'_weighted' if weighted else ''}_{place}"
    module = folder / f"{name}.py"
    if not module.exists():
        found = parts(x, y, weighted=weighted)
        arrays: dict[str, Any] = {
            f"{part}.{i}": array for part, all_of in found.items() for i, array in enumerate(all_of)
        }
        np.savez(folder / f"{name}.npz", **arrays)
        file = str((folder / f"{name}.npz").resolve())
        module.write_text(MODULE.format(file=file, width=3 if weighted else 2, code=OWN))
    return name
