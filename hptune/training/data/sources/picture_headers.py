"""What a picture file's header says where TensorFlow's decoder differs from what a viewer shows."""

from __future__ import annotations

import struct
from typing import Literal, TypeAlias

import numpy as np

from hptune.training.data.arrays import Array

HEAD_BYTES = 2**16
"""Bytes at the start of a file that `peculiarity` needs."""

Peculiarity: TypeAlias = Literal["deep", "turned"]

TOLD: dict[Peculiarity, str] = {
    "deep": "have 16 bits a channel, of which the upper 8 are kept: values that differ by less than 256 are one. "
    "Bring them to 8 bits yourself, or give them as arrays (data.npz), which keep all digits",
    "turned": "are JPEGs that viewers turn by their EXIF orientation: they are taken as they are stored. Turn them for "
    "good where that matters",
}
"""The notes on such pictures, which follow their number."""

_PNG = b"\x89PNG\r\n\x1a\n"
_ORIENTATION = 0x0112
_PLAIN_MASKS = (0xFF0000, 0xFF00, 0xFF)
_AS_PNG = "Save it as PNG"


class Undecodable(Exception):  # it says what the file is
    """A file that is not a picture of a known format, or a damaged one. Its message says why."""


def peculiarity(head: bytes) -> Peculiarity | None:
    """The peculiarity of a picture; None for most. head: the file's first HEAD_BYTES."""
    if head[:8] == _PNG and len(head) > 24 and head[24] == 16:
        return "deep"
    return "turned" if head[:2] == b"\xff\xd8" and _orientation(head) not in (None, 1) else None


def _orientation(head: bytes) -> int | None:
    """The orientation in a JPEG file's EXIF data: 1 is upright; None where there is none."""
    at = 2
    while at + 4 <= len(head) and head[at] == 0xFF and head[at + 1] != 0xDA:  # the segments before the scan
        length = int.from_bytes(head[at + 2 : at + 4])
        if head[at + 1] == 0xE1 and head[at + 4 : at + 10] == b"Exif\0\0":
            return _tag(head[at + 10 : at + 2 + length], _ORIENTATION)
        at += 2 + length
    return None


def _tag(tiff: bytes, wanted: int) -> int | None:
    """The 16-bit number with a tag in the first directory of TIFF data; None where there is none."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    try:
        if order is None:
            return None
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
            if tag == wanted:
                return int(value)
    except struct.error:  # cut short
        pass
    return None


def indexed_bmp(content: bytes) -> Array | None:
    """uint8 [h, w, 3] of a BMP file with a palette ([h, w, 1] for a palette of greys), whose indices TensorFlow would
    take for greys; None for any other file that it reads.

    Raises `Undecodable` for the kinds of BMP that it would misread: compressed, of OS/2, or with its own channel masks.
    """
    if content[:2] != b"BM":
        return None
    try:
        start, header = struct.unpack_from("<I", content, 10)[0], struct.unpack_from("<I", content, 14)[0]
        if header < 40:
            raise Undecodable(f"a BMP file of the kind of OS/2, which can't be read. {_AS_PNG}")
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", content, 18)
        (used,) = struct.unpack_from("<I", content, 46)
        if bits in (24, 32) and (compression == 0 or (compression == 3 and _masks(content) == _PLAIN_MASKS)):
            return None
        if bits not in (1, 4, 8) or compression:
            raise Undecodable(
                f"a BMP file of {bits} bits a pixel, compressed or of channels of its own, can't be read. {_AS_PNG}"
            )
        palette = np.frombuffer(content, np.uint8, 4 * (used or 1 << bits), 14 + header).reshape(-1, 4)[:, 2::-1]
        stride = (width * bits + 31) // 32 * 4
        rows = np.frombuffer(content, np.uint8, stride * abs(height), start).reshape(abs(height), stride)
        pixels = palette[_indices(rows, bits)[:, :width]]
    except (struct.error, ValueError, IndexError) as error:
        raise Undecodable("damaged (it ends too early, or has no such colours)") from error
    if not pixels.size:
        raise Undecodable("damaged (it has no pixels)")
    grey = (palette == palette[:, :1]).all()
    return np.ascontiguousarray(pixels[:: -1 if height > 0 else 1, :, : 1 if grey else 3])


def _masks(content: bytes) -> tuple[int, ...]:
    return struct.unpack_from("<III", content, 54)


def _indices(rows: Array, bits: int) -> Array:
    """[h, at least w] indices from the bytes of each row, whose highest bits hold the first pixel."""
    if bits == 8:
        return rows
    if bits == 4:
        return np.stack([rows >> 4, rows & 15], axis=-1).reshape(len(rows), -1)
    return np.unpackbits(rows, axis=1)
