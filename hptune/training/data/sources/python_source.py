"""Samples from a user's function: arrays, or `tf.data.Dataset`s, which stay streams.

It returns `(x, y)` or `{"x": …, "y": …}` (with `sample_weight` as an optional third); or two or three of these, as the
training, the validation and the test part; or two or three data sets as these parts.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from hptune.base.errors import SpecError, message_of, spec_error
from hptune.experiment.data import PythonData
from hptune.training.data.arrays import Array
from hptune.training.data.inputs import Preparation
from hptune.training.data.needs import Needs
from hptune.training.data.parts import Data, Part
from hptune.training.data.raw import Raw
from hptune.training.data.reading import Reading
from hptune.training.data.scaling import costs, statistics
from hptune.training.data.source_form import SourceForm
from hptune.training.data.sources.flow import PYTHON, Flow, called, comes_in_batches, in_batches, is_dataset
from hptune.training.data.table.labels import array_of, joined_labels, plain_labels, refuse_long_doubles, unmasked
from hptune.training.data.target import as_taken, missing_classes, read_target
from hptune.training.data.weights import check_weights, given_weights, refuse_all_0

HEAD = 64
"""Samples of a stream that are kept as arrays, to recognise their kind."""

MOST_ELEMENTS = 1_000_000
"""A data set of unknown length that has more elements than this is taken for endless."""

PARTS = ("train", "validation", "test")

SampleArrays: TypeAlias = tuple[Array, Array, Array | None]


def read_python(spec: PythonData, reading: Reading) -> Raw | Data:
    """What the function returns: all samples as arrays, or parts as streams. Raises `SpecError` for anything else."""
    returned = _called(spec, reading.folder, reading.seed)
    if is_dataset(returned):
        problem = f"{spec.python} returned one tf.data.Dataset, which can't be split. Return two or three"
        raise spec_error(f"{problem}: (train, validation) or (train, validation, test).", *PYTHON)
    parts = returned if isinstance(returned, tuple | list) else (returned,)
    if any(is_dataset(part) for part in parts):
        return _streams(
            spec, reading.folder, parts=parts, seed=reading.seed, with_test=reading.with_test, needs=reading.needs
        )
    for key in ("steps_per_epoch", "validation_steps"):
        if getattr(spec, key) is not None:
            raise spec_error(f"is for a tf.data.Dataset, and {spec.python} returned arrays. Drop it.", "data", key)
    return _arrays(spec, returned)


def _called(spec: PythonData, folder: Path, seed: int) -> Any:
    """What the function returns. Raises `SpecError` where it fails."""
    try:
        return called(spec.python, folder, seed)
    except (SpecError, KeyboardInterrupt):
        raise
    except BaseException as error:  # the user's function may raise anything
        problem = f"{spec.python} raised {type(error).__name__}: {message_of(error)}. Fix the function."
        raise spec_error(problem, *PYTHON) from error


# --- arrays ---------------------------------------------------------------------------------------------------------


def _arrays(spec: PythonData, returned: Any) -> Raw:
    if _is_samples(returned):
        x, y, weights = _samples(returned, "")
        return Raw(x, y, (), PYTHON, PYTHON, weights=weights)
    if not (isinstance(returned, tuple | list) and len(returned) in (2, 3) and all(map(_is_samples, returned))):
        raise spec_error(f"{spec.python} returned {_type_of(returned)}. {_WANTED}", *PYTHON)
    for option in ("validation", "test"):
        if getattr(spec, option) != type(spec).model_fields[option].default:
            problem = f"{spec.python} returns its parts itself, so that this has no effect. Drop it."
            raise spec_error(problem, "data", option)
    parts = [_samples(part, f" of the {name} part") for part, name in zip(returned, PARTS, strict=False)]
    sizes = [len(y) for _, y, _ in parts]
    shapes = {x.shape[1:] for x, _, _ in parts}
    if len(shapes) > 1 or len({y.shape[1:] for _, y, _ in parts}) > 1:
        problem = ", ".join(f"{name} {list(x.shape)}" for (x, _, _), name in zip(parts, PARTS, strict=False))
        raise spec_error(f"the parts that {spec.python} returned have samples of different shapes: {problem}.", *PYTHON)
    counts = [np.ones(len(y)) if w is None else w for _, y, w in parts]
    rows = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    return Raw(
        np.concatenate([x for x, _, _ in parts]),
        joined_labels([y for _, y, _ in parts], "y of the parts", PYTHON),
        (),
        PYTHON,
        PYTHON,
        weights=np.concatenate(counts) if any(w is not None for _, _, w in parts) else None,
        own_validation=rows[1],
        own_test=rows[2] if len(rows) == 3 else rows[1][:0],
    )


_WANTED = 'Return (x, y) or {"x": …, "y": …} of arrays, or two or three of these as parts, or two or three data sets.'


def _is_samples(returned: Any) -> bool:
    """Whether it is one set of samples, rather than several."""
    if isinstance(returned, Mapping):
        return {"x", "y"} <= set(returned) <= {"x", "y", "sample_weight"}
    if not isinstance(returned, tuple | list) or len(returned) not in (2, 3):
        return False
    return not any(isinstance(part, tuple | list | Mapping) or part is None for part in returned[:2])


def _refuse_others(x: Any, name: str) -> None:
    """Refuse sparse matrices, and tables with columns other than numbers, of which NumPy would make objects."""
    pandas, sparse = sys.modules.get("pandas"), sys.modules.get("scipy.sparse")
    if sparse is not None and sparse.issparse(x):
        raise spec_error(f"{name} is a sparse matrix. Make it dense: x.toarray().", *PYTHON)
    if pandas is not None and isinstance(x, pandas.DataFrame):
        held = {str(name): kind for name, kind in x.dtypes.items() if not pandas.api.types.is_numeric_dtype(kind)}
        if held:
            columns = ", ".join(f"{name} ({kind})" for name, kind in list(held.items())[:5])
            remedy = "Make numbers of them, or give the table as data.csv or data.parquet, which takes them as they are"
            raise spec_error(f"{name} has columns that aren't numbers: {columns}. {remedy}.", *PYTHON)


def _samples(returned: Any, where: str) -> SampleArrays:
    if isinstance(returned, Mapping):
        returned = (returned["x"], returned["y"], returned.get("sample_weight"))
    _refuse_others(returned[0], f"x{where}")
    x, y = np.asarray(unmasked(returned[0], f"x{where}", PYTHON)), array_of(unmasked(returned[1], f"y{where}", PYTHON))
    weights_name, weights_returned = f"sample_weight{where}", None if len(returned) < 3 else returned[2]
    weights = (
        None
        if weights_returned is None
        else given_weights(unmasked(weights_returned, weights_name, PYTHON), weights_name, PYTHON)
    )
    if x.dtype.kind not in "biuf" or x.ndim == 0 or not x.size:
        problem = f"x{where} must be an array of numbers [n, …], got {x.dtype} of shape {list(x.shape)}."
        texts = " Turn texts into numbers first, or give a table with a column of `kind: text`."
        raise spec_error(f"{problem}{texts if x.dtype.kind in 'OSU' else ''} {_WANTED}", *PYTHON)
    if y.dtype.kind not in "biufUO" or y.ndim not in (1, 2):
        problem = f"y{where} must be numbers, booleans or text, [n] or [n, k], got {y.dtype} of shape {list(y.shape)}."
        raise spec_error(f"{problem} {_WANTED}", *PYTHON)
    for name, samples in (("x", x), ("y", y)):
        refuse_long_doubles(samples, f"{name}{where}", PYTHON)
    if y.dtype.kind in "OU":
        y = plain_labels(y, f"y{where}", PYTHON)
    for name, array in (("y", y), ("sample_weight", weights)):
        if array is not None and len(array) != len(x):
            problem = f"x{where} has {len(x)} samples and {name} has {len(array)}."
            raise spec_error(f"{problem} They must be as long as each other.", *PYTHON)
    return x[:, None] if x.ndim == 1 else x, y, weights


def _type_of(obj: Any) -> str:
    kind = type(obj).__name__
    return f"{kind} of {', '.join(type(one).__name__ for one in obj)}" if isinstance(obj, tuple | list) else kind


# --- streams --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Scanned:
    """What one pass over a part has shown.

    targets: all of them, with all digits. inputs: the first samples, likewise. digest: sha256 of every value as
    training takes it, in order. members: a number for the samples, in any order.
    """

    part: Part
    targets: Array
    inputs: Array
    digest: str
    members: int


def _streams(spec: PythonData, folder: Path, *, parts: Any, seed: int, with_test: bool, needs: Needs) -> Data:
    if len(parts) not in (2, 3) or not all(is_dataset(part) for part in parts):
        raise spec_error(f"{spec.python} returned {_type_of(parts)}. {_WANTED}", *PYTHON)
    for key in ("scale", "one_hot", "limit", "class_weight"):
        if getattr(spec, key) != type(spec).model_fields[key].default and getattr(spec, key) != "none":
            problem = "is not for a tf.data.Dataset, whose samples stay as they come."
            raise spec_error(f"{problem} Drop it, and do that in {spec.python}.", "data", key)
    steps = (spec.steps_per_epoch, spec.validation_steps, None)
    wanted = range(len(parts) if with_test else 2)
    seen = [_scanned(spec, folder, index=i, dataset=parts[i], steps=steps[i], seed=seed) for i in wanted]
    seen, others = _dealt_alike(seen)
    target = read_target(Raw(seen[0].part.x, seen[0].targets, (), PYTHON, PYTHON), task=spec.task, one_hot=False)
    labels = target.labels
    if target.task == "classes" and seen[0].targets.ndim == 1:
        highest = max(int(one.targets.max()) for one in seen)
        labels = tuple(range(highest + 1))
        if min(int(one.targets.min()) for one in seen) < 0:
            problem = f"the labels of {spec.python} must be whole numbers from 0 on."
            raise spec_error(f"{problem} Number the classes.", *PYTHON)
    lacking: tuple[str, ...] = ()
    if target.task == "classes" and labels is not None and seen[0].targets.ndim == 1:
        lacking = missing_classes(seen[0].targets, np.concatenate([one.targets for one in seen[1:]]), labels)
    standardised = needs.standardise(target.task, spec.scale)
    every = np.arange(len(target.y))
    taken = as_taken(target, every, needs, standardised=standardised, path=PYTHON)
    if taken.offset is not None:
        offset = tuple(np.reshape(taken.offset, -1).tolist())
        seen = [replace(one, part=_near_0(one, offset)) for one in seen]
    rows = dict.fromkeys(PARTS, 0) | {PARTS[i]: len(one.part) for i, one in zip(wanted, seen, strict=True)}
    if len(parts) == 3 and not with_test:
        rows["test"] = _count(spec, parts[2])
    digest = hashlib.sha256("".join([spec.python, *(one.digest for one in seen[:2])]).encode()).hexdigest()
    return Data(
        train=seen[0].part,
        validation=seen[1].part,
        test=seen[2].part if len(seen) == 3 else None,
        rows=rows,
        task=target.task,
        labels=labels,
        fingerprint=digest,
        target_scale=statistics(taken.y) if standardised else None,
        target_offset=taken.offset,
        input_scale=None,
        features=(),
        preparation=Preparation((), None),
        examples=seen[0].part.x,
        notes=(
            *costs(seen[0].inputs, remedy="Scale it in the data set, or take a constant off it"),
            *taken.notes,
            *needs.kept_scale(target.task, spec.scale),
            *lacking,
            *others,
        ),
        form=SourceForm(_is_column(parts[0]), floats=False, order=np.empty(0, np.int64)),
    )


def _near_0(seen: _Scanned, offset: tuple[float, ...]) -> Part:
    """The part with the offset subtracted from its targets as they are read."""
    flow, head = seen.part.flow, seen.targets[: len(seen.part.y)]
    assert flow is not None, "a data set's"
    return replace(
        seen.part, y=(head - np.reshape(offset, head.shape[1:])).astype(np.float32), flow=replace(flow, offset=offset)
    )


def _is_column(dataset: Any) -> bool:
    """Whether its targets are [n, 1]."""
    shape = dataset.element_spec[1].shape
    inner = shape[1:] if comes_in_batches(dataset) else shape
    return bool(inner.rank == 1 and inner[0] == 1)


def _dealt_alike(seen: list[_Scanned]) -> tuple[list[_Scanned], tuple[str, ...]]:
    """The parts, opened so that the validation part has the same samples each time; a note where that is impossible.

    Each trial opens the training part under its own seed, so that parts of one shuffled set would overlap.
    """
    if _again(seen[1].part) == seen[1].members:
        return seen, ()
    alike = [replace(one, part=replace(one.part, flow=replace(_flow(one.part), alike=True))) for one in seen]
    if _again(alike[1].part) == seen[1].members:
        return alike, ()
    note = f"{_flow(seen[1].part).reference} gives other validation samples at each call"
    why = "where it splits at random, samples that are trained on are validated on too"
    return seen, (f"{note}: {why}. Draw from generators that have a seed",)


def _again(part: Part) -> int:
    """A number for the samples of a part, in any order, when it is opened under another seed."""
    return sum(_members(batch) for batch in _flow(part).open(1, endless=False)) % 2**64


def _flow(part: Part) -> Flow:
    assert part.flow is not None, "a data set's"
    return part.flow


def _members(batch: Iterable[Any]) -> int:
    """A number for the samples of a batch, in any order."""
    arrays = [np.ascontiguousarray(part) for part in batch]
    samples = (b"".join(one[row].tobytes() for one in arrays) for row in range(len(arrays[0])))
    return sum(int.from_bytes(hashlib.sha256(sample).digest()[:8], "little") for sample in samples)


def _scanned(spec: PythonData, folder: Path, *, index: int, dataset: Any, steps: int | None, seed: int) -> _Scanned:
    """Read one part once: its size, its targets and its first samples."""
    name = PARTS[index]
    _check_kind(spec, dataset, name)
    if steps is None:
        _check_ends(spec, dataset, name)
    elif index == 0:
        dataset = dataset.repeat()  # an epoch may be more than one pass
    once = in_batches(dataset, steps, endless=False, exact=True)
    head: list[tuple[Array, ...]] = []
    targets: list[Array] = []
    digest, members = hashlib.sha256(), 0
    inputs: list[Array] = []
    rows, counts = 0, False  # so far; and whether a sample has a weight above 0
    for exact, batch in _batches(spec, once, name, endless_from=None if steps is not None else MOST_ELEMENTS):
        if sum(len(one[0]) for one in head) < HEAD:
            head.append(tuple(part[:HEAD] for part in batch))
            inputs.append(exact[0][:HEAD])
        if len(batch) > 2:
            check_weights(batch[2], f"sample_weight of the {name} data set of {spec.python}", PYTHON, start=rows)
            counts |= bool(batch[2].any())
        targets.append(exact[1])
        rows += len(batch[1])
        for part in batch:
            digest.update(np.ascontiguousarray(part).tobytes())
        members += _members(batch) if index == 1 else 0
    if not targets:
        raise spec_error(f"the {name} data set of {spec.python} is empty. Return one with samples.", *PYTHON)
    x, y, *weight = (np.concatenate(parts) for parts in zip(*head, strict=True))
    if weight and not counts:
        refuse_all_0(np.zeros(rows), {"train": "training"}.get(name, name), PYTHON)
    whole = np.concatenate(targets)
    _check_finite(spec, x, y=whole, name=name)
    part = Part(x, y, weight[0] if weight else None, Flow(spec.python, folder, index, steps, len(whole), seed))
    return _Scanned(part, whole, np.concatenate(inputs), digest.hexdigest(), members % 2**64)


def _count(spec: PythonData, dataset: Any) -> int:
    """How many samples the test part has; nothing else is read from it."""
    _check_ends(spec, dataset, "test")
    once = in_batches(dataset, None, endless=False)
    return sum(len(batch[1]) for batch in _batches(spec, once, "test", endless_from=MOST_ELEMENTS))


def _check_kind(spec: PythonData, dataset: Any, name: str) -> None:
    element = dataset.element_spec
    plain = isinstance(element, tuple) and not any(isinstance(part, tuple | dict) for part in element)
    if not plain or len(element) not in (2, 3):
        problem = f"the {name} data set of {spec.python} gives {element}."
        raise spec_error(f"{problem} Its elements must be (x, y) or (x, y, sample_weight), a tensor each.", *PYTHON)
    if not element[1].dtype.is_integer and not element[1].dtype.is_floating:
        problem = f"y of the {name} data set of {spec.python} must be numbers, got {element[1].dtype.name}."
        raise spec_error(f"{problem} Number the classes from 0 on.", *PYTHON)
    fixed = element[0].shape[1:] if comes_in_batches(dataset) else element[0].shape
    if fixed.rank is None or None in list(fixed):
        problem = f"x of the {name} data set of {spec.python} has the shape {element[0].shape}"
        raise spec_error(f"{problem}; all sizes but the batch's must be known. Set them with tf.ensure_shape.", *PYTHON)


def _check_ends(spec: PythonData, dataset: Any, name: str) -> None:
    import tensorflow as tf

    if dataset.cardinality().numpy() == tf.data.INFINITE_CARDINALITY:
        raise _endless(spec, name)


def _endless(spec: PythonData, name: str) -> SpecError:
    problem = f"the {name} data set of {spec.python} has no end."
    if name == "test":
        return spec_error(f"{problem} Give it one with .take(n).", *PYTHON)
    key = "steps_per_epoch" if name == "train" else "validation_steps"
    return spec_error(f"{problem} Say data.{key}: how many of its batches make a pass; or give it an end.", *PYTHON)


def _batches(spec: PythonData, once: Any, name: str, *, endless_from: int | None) -> Iterator[tuple[Array, ...]]:
    try:
        for number, batch in enumerate(once.as_numpy_iterator()):
            if endless_from is not None and number >= endless_from:
                raise _endless(spec, name)
            yield batch
    except SpecError:
        raise
    except Exception as error:  # anything that the user's own code raises, as TensorFlow reports it
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise spec_error(f"reading the {name} data set of {spec.python} failed: {detail}. Fix it.", *PYTHON) from error


def _check_finite(spec: PythonData, x: Array, *, y: Array, name: str) -> None:
    for axis, array in (("x", x), ("y", y)):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            problem = f"{axis} of the {name} data set of {spec.python} holds NaN or infinity. Leave such samples out."
            raise spec_error(problem, *PYTHON)
