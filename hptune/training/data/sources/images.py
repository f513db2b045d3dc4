"""Pictures in files: decoded and resized once, into one file of bytes on the disk from which samples are then gathered.

A picture's format is found from its content, whatever its suffix: JPEG, PNG, GIF (its first frame) or BMP. Resizing is
bilinear, with antialiasing where a picture shrinks; a picture of another shape is stretched.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hptune.base.errors import Problem, SpecError, spec_error
from hptune.experiment.data import CsvData, ImagesData
from hptune.training.data.arrays import Array
from hptune.training.data.raw import Raw, unreadable
from hptune.training.data.reading import Reading
from hptune.training.data.sources.picture_headers import (
    HEAD_BYTES,
    TOLD,
    Peculiarity,
    Undecodable,
    indexed_bmp,
    peculiarity,
)
from hptune.training.data.sources.table_files import read_table_file
from hptune.training.data.store.kept import Output, kept
from hptune.training.data.store.stream import Mapped, scratch
from hptune.training.data.table.table import SHOWN

IMAGES = ("data", "images")

_READ = 2
"""Increased when decoding changes, so that no earlier result is used."""

_AT_ONCE = 256
"""Pictures in memory at once."""


@dataclass(frozen=True, slots=True, eq=False)
class _PictureList:
    """The files in order, as the YAML's author would name them, and everything about them but their pictures."""

    names: list[str]
    folder: Path
    raw: Raw


def read_images(spec: ImagesData, reading: Reading) -> Raw:
    """x: uint8 [n, h, w, channels]; y: the index of the class, or the table's target.

    The decoded pictures are kept in `how.cache`, for later use. Raises `SpecError` for files that can't be decoded,
    unless `missing: drop` leaves them out.
    """
    folder, cache = reading.folder, reading.cache
    listed = _from_folder(spec, folder) if (folder / spec.images).is_dir() else _from_table(spec, folder)
    pictures, bad, peculiar = _decoded(spec, listed, cache if cache is not None else scratch())
    keep = np.ones(len(listed.names), bool)
    keep[list(bad)] = False
    notes = [f"{len(bad)} of {len(keep)} files were dropped that can't be decoded: {_some(listed, bad)}"] if bad else []
    for oddity, numbers in peculiar.items():
        notes.append(f"{len(numbers)} of {len(pictures)} pictures {TOLD[oddity]}: {_some(listed, numbers)}")
    return replace(listed.raw, x=pictures, y=listed.raw.y[keep], notes=(*listed.raw.notes, *notes))


def _some(listed: _PictureList, numbers: Collection[int]) -> str:
    """The names of the first few of these files."""
    return ", ".join(listed.names[i] for i in sorted(numbers)[:3]) + (", …" if len(numbers) > 3 else "")


def read_picture(path: Path, size: Sequence[int], channels: int) -> Array:
    """uint8 [h, w, channels] of one file. Raises `Undecodable`, or OSError where the file can't be read."""
    import tensorflow as tf

    content = path.read_bytes()
    if not content:
        raise Undecodable("the file is empty")
    try:
        indexed = indexed_bmp(content)
        picture = tf.io.decode_image(content, expand_animations=False) if indexed is None else tf.constant(indexed)
    except tf.errors.InvalidArgumentError as error:
        raise Undecodable(_why(error)) from error
    own_channels = picture.shape[-1]
    if own_channels in (2, 4):  # the last channel says how opaque a pixel is
        picture, own_channels = picture[..., :-1], own_channels - 1
    if own_channels != channels:
        change = tf.image.grayscale_to_rgb if channels == 3 else tf.image.rgb_to_grayscale
        picture = change(picture)
    if tuple(picture.shape[:2]) != tuple(size):
        picture = tf.image.resize(picture, size, antialias=True)
        picture = tf.cast(tf.clip_by_value(tf.round(picture), 0, 255), tf.uint8)
    array: Array = picture.numpy()
    return array


_FORMATS = "JPEG, PNG, GIF and BMP can be read."


def _why(error: Exception) -> str:
    message = str(error)
    if "Unknown image file format" in message:
        return "no picture of a known format"
    return f"damaged ({message.split('{{')[0].strip().rstrip('.') or 'it ends too early'})"


# --- which files ----------------------------------------------------------------------------------------------------


def _from_folder(spec: ImagesData, folder: Path) -> _PictureList:
    """One folder for each class, named after it; hidden files are ignored."""
    if spec.target is not None:
        message = f"{spec.images} is a folder, whose own folders are the classes. Drop path and target."
        raise spec_error(message, "data", "target")
    root = folder / spec.images
    entries = sorted(entry for entry in root.iterdir() if not entry.name.startswith("."))
    classes = [entry for entry in entries if entry.is_dir()]
    if not classes:
        message = f"{spec.images} holds no folder. It needs one for each class, with the pictures of that class in it."
        raise spec_error(message, *IMAGES)
    names: list[str] = []
    codes: list[int] = []
    for code, one in enumerate(classes):
        files = sorted(path.relative_to(root) for path in one.rglob("*") if path.is_file())
        files = [path for path in files if not any(part.startswith(".") for part in path.parts)]
        if not files:
            message = f"the folder {spec.images}/{one.name} is empty."
            raise spec_error(f"{message} Put the pictures of that class in it, or remove it.", *IMAGES)
        names += [path.as_posix() for path in files]
        codes += [code] * len(files)
    labels = tuple(one.name for one in classes)
    return _PictureList(names, root, Raw(np.empty(0), np.array(codes), (), IMAGES, IMAGES, labels=labels))


def _from_table(spec: ImagesData, folder: Path) -> _PictureList:
    """A CSV file whose column `path` names the files, relative to the CSV file's folder."""
    table = folder / spec.images
    if not table.exists():
        raise unreadable(spec.images, table, error=FileNotFoundError(), key="images")
    if spec.path is None or spec.target is None:
        message = f"{spec.images} is a file. Name its columns: path (of each picture's file) and target."
        raise spec_error(message, *IMAGES)
    table_spec = CsvData(
        csv=spec.images,
        target=spec.target,
        features=[spec.path],
        columns={spec.path: "category"},
        task=spec.task,
        missing=spec.missing,
    )
    raw = read_table_file(table_spec, Reading(folder))
    assert isinstance(raw.x, tuple), "a table has columns"
    return _PictureList(raw.x[0].values.tolist(), table.parent, replace(raw, features=(), x_path=IMAGES))


# --- what is in them ------------------------------------------------------------------------------------------------


def _decoded(
    spec: ImagesData, listed: _PictureList, cache: Path
) -> tuple[Mapped, dict[int, str], dict[Peculiarity, list[int]]]:
    """(the pictures, why others, by number, can't be decoded, the numbers of pictures by their peculiarity).

    Raises `SpecError`.
    """
    height, width = spec.size
    path = cache / f"images-{_key(spec, listed)}.u8"
    said = kept(path, lambda out: _write(spec, listed, out))
    bad = {int(number): why for number, why in said["bad"].items()}
    shape = (len(listed.names) - len(bad), height, width, spec.channels)
    if not shape[0]:
        raise spec_error(f"none of the {len(bad)} files in {spec.images} is a picture. {_FORMATS}", *IMAGES)
    return Mapped(path, np.uint8, shape), bad, said["peculiar"]


def _key(spec: ImagesData, listed: _PictureList) -> str:
    """A digest of what the decoded pictures depend on, short enough for a file's name."""
    from tensorflow import __version__ as decoder

    digest = hashlib.sha256(json.dumps([_READ, spec.size, spec.channels, decoder, spec.images]).encode())
    for name in listed.names:
        try:
            status = (listed.folder / name).stat()
            digest.update(json.dumps([name, status.st_size, status.st_mtime_ns, status.st_ctime_ns]).encode())
        except OSError:  # reported when it is read
            digest.update(json.dumps([name]).encode())
    return digest.hexdigest()[:16]


def _write(spec: ImagesData, listed: _PictureList, out: Output) -> dict[str, Any]:
    """Decode every file and write its picture; returns why some can't be decoded, and which are peculiar.

    Raises `SpecError` for files that can't be decoded, unless they are dropped.
    """
    bad: dict[int, str] = {}
    peculiar: dict[Peculiarity, list[int]] = {}
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        for decoded in _in_order(spec, listed, threads):
            for number, picture in decoded:
                if isinstance(picture, str):
                    bad[number] = picture
                else:
                    out.write(picture.tobytes())
                    if (oddity := _peculiarity(listed.folder / listed.names[number])) is not None:
                        peculiar.setdefault(oddity, []).append(number)
    if bad and spec.missing != "drop":
        raise _refusal(spec, listed, bad)
    return {"bad": bad, "peculiar": peculiar}


def _peculiarity(path: Path) -> Peculiarity | None:
    with path.open("rb") as file:
        return peculiarity(file.read(HEAD_BYTES))


def _in_order(
    spec: ImagesData, listed: _PictureList, threads: ThreadPoolExecutor
) -> Iterator[list[tuple[int, Array | str]]]:
    """(number, picture or why there is none) for one batch of files after the other."""

    def one(number: int) -> tuple[int, Array | str]:
        try:
            return number, read_picture(listed.folder / listed.names[number], spec.size, spec.channels)
        except Undecodable as error:
            return number, str(error)
        except OSError as error:
            return number, error.strerror or str(error)

    for numbers in _stretches(len(listed.names)):
        yield list(threads.map(one, numbers))


def _stretches(count: int) -> Iterator[range]:
    for start in range(0, count, _AT_ONCE):
        yield range(start, min(count, start + _AT_ONCE))


def _refusal(spec: ImagesData, listed: _PictureList, bad: dict[int, str]) -> SpecError:
    shown = sorted(bad)[:SHOWN]
    problems = [Problem(f"{bad[i]}.", place=str(_spelled_path(spec, listed, i))) for i in shown]
    limit = f", {SHOWN} of them listed" if len(bad) > SHOWN else ""
    more = f"{len(bad)} of {len(listed.names)} files can't be decoded{limit}"
    return SpecError(*problems, Problem(f"{more}. {_FORMATS} Fix or remove them, or say data.missing: drop.", IMAGES))


def _spelled_path(spec: ImagesData, listed: _PictureList, number: int) -> Path:
    return (Path(spec.images) if spec.target is None else Path(spec.images).parent) / listed.names[number]
