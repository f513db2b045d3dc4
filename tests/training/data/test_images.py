"""Pictures in files: what comes out of them, what is told of those that are none, and that they are decoded once."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hptune.base.errors import SpecError
from hptune.experiment.data import ImagesData
from hptune.training.data import Data, load_data
from hptune.training.data.sources import images
from hptune.training.data.sources.images import read_picture
from hptune.training.data.sources.picture_headers import Undecodable


def picture(path: Path, level: int = 100, shape: tuple[int, ...] = (4, 4, 3), kind: str = "png") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    encode = {"png": tf.io.encode_png, "jpeg": tf.io.encode_jpeg}[kind]
    path.write_bytes(encode(np.full(shape, level, np.uint8)).numpy())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """20 dark and 20 light pictures."""
    for kind, level in (("dark", 20), ("light", 200)):
        for i in range(20):
            picture(tmp_path / "pictures" / kind / f"{i:02d}.png", level + i)
    return tmp_path


def load(folder: Path, **options: Any) -> Data:
    given = {"images": "pictures", "size": [4, 4], **options}
    return load_data(ImagesData.model_validate(given), folder=folder, seed=0, cache=folder / "cache")


def refused(folder: Path, **options: Any) -> str:
    with pytest.raises(SpecError) as error:
        load(folder, **options)
    return str(error.value)


def test_a_folder_a_class(folder: Path) -> None:
    data = load(folder, scale="unit")
    assert (data.task, data.labels, dict(data.rows)) == (
        "classes",
        ("dark", "light"),
        {"train": 24, "validation": 8, "test": 8},
    )
    assert data.train.x.shape == (24, 4, 4, 3)
    levels = np.round(data.train.x[:, 0, 0, 0] * 255)
    assert ((levels >= 200) == (data.train.y == 1)).all()
    assert len(set(levels)) == 24, "each picture stands once"


def test_channels_are_standardised_unless_it_is_said_otherwise(folder: Path) -> None:
    x = load(folder).train.x
    assert np.allclose(x.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    assert np.allclose(x.std(axis=(0, 1, 2)), 1, atol=1e-5)
    assert load(folder, scale="none").train.x.max() > 200


def test_the_file_says_what_it_is_whatever_its_name(tmp_path: Path) -> None:
    picture(tmp_path / "a.dat", 77, kind="jpeg")
    assert read_picture(tmp_path / "a.dat", (4, 4), 3).tolist() == np.full((4, 4, 3), 77).tolist()


@pytest.mark.parametrize(("given", "channels"), [(1, 3), (2, 3), (4, 3), (3, 1), (4, 1), (2, 1)])
def test_channels_are_brought_to_those_asked_for(tmp_path: Path, given: int, channels: int) -> None:
    picture(tmp_path / "a.png", 90, (4, 4, given))
    found = read_picture(tmp_path / "a.png", (4, 4), channels)
    assert (found.shape, found.dtype) == ((4, 4, channels), np.uint8)
    assert np.abs(found.astype(int) - 90).max() <= 1


def test_a_picture_is_resized(tmp_path: Path) -> None:
    halves = np.zeros((8, 8, 1), np.uint8)
    halves[:, 4:] = 200
    (tmp_path / "a.png").write_bytes(tf.io.encode_png(halves).numpy())
    found = read_picture(tmp_path / "a.png", (2, 4), 1)
    assert found.shape == (2, 4, 1)
    assert found[0, 0, 0] < 30
    assert found[1, 3, 0] > 170


def bmp(pixels: Any, palette: Any, bits: int, *, header: int = 40, compression: int = 0, down: bool = False) -> bytes:
    """A BMP file of indices [h, w] into a palette of (red, green, blue)."""
    rows = [
        np.packbits(np.unpackbits(np.array(row, np.uint8)[:, None], axis=1)[:, 8 - bits :]).tobytes() for row in pixels
    ]
    width = (len(pixels[0]) * bits + 31) // 32 * 4
    body = b"".join(row.ljust(width, b"\0") for row in (rows if down else rows[::-1]))
    colours = b"".join(bytes([blue, green, red, 0]) for red, green, blue in palette)
    start, height = 54 + len(colours), len(pixels) * (-1 if down else 1)
    sizes = (len(pixels[0]), height, 1, bits, compression, 0, 0, 0, len(palette), 0)
    return (
        b"BM"
        + struct.pack("<IHHI", start + len(body), 0, 0, start)
        + struct.pack("<IiiHHIIiiII", header, *sizes)
        + colours
        + body
    )


COLOURS = [(10, 20, 30), (200, 0, 100), (0, 255, 0), (90, 90, 91)]


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_a_bmp_with_a_palette_has_its_colours(tmp_path: Path, bits: int, down: bool) -> None:
    colours = COLOURS[: 2 if bits == 1 else 4]
    pixels = np.random.default_rng(0).integers(0, len(colours), (5, 7))
    (tmp_path / "a.bmp").write_bytes(bmp(pixels, colours, bits, down=down))
    assert np.array_equal(read_picture(tmp_path / "a.bmp", (5, 7), 3), np.array(colours, np.uint8)[pixels])
    greys = [(7 * i, 7 * i, 7 * i) for i in range(len(colours))]
    (tmp_path / "a.bmp").write_bytes(bmp(pixels, greys, bits, down=down))
    assert np.array_equal(read_picture(tmp_path / "a.bmp", (5, 7), 1)[..., 0], 7 * pixels)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (bmp([[0, 1]], COLOURS, 8, compression=1), "a BMP file of 8 bits a pixel, compressed .* Save it as PNG"),
        (bmp([[0, 1]], COLOURS, 8, header=12), "of the kind of OS/2"),
        (bmp([[0, 9]], COLOURS, 8), "damaged"),
        (bmp([[0, 1]], COLOURS, 8)[:-4], "damaged"),
        (bmp([[0, 1]], COLOURS, 8)[:40], "damaged"),
        (bmp([[0, 1]], COLOURS, 8).replace(struct.pack("<ii", 2, 1), struct.pack("<ii", 2, 0)), "no pixels"),
        (bmp([[0, 1]], COLOURS, 8).replace(struct.pack("<ii", 2, 1), struct.pack("<ii", -2, 1)), "damaged"),
    ],
)
def test_a_bmp_that_would_be_misread_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.bmp").write_bytes(content)
    with pytest.raises(Undecodable, match=words):
        read_picture(tmp_path / "a.bmp", (1, 2), 3)


def test_pictures_of_16_bits_and_turned_ones_are_counted_and_told(folder: Path) -> None:
    for i in range(4):
        deep = tf.io.encode_png(np.full((4, 4, 1), 30_000 + i, np.uint16)).numpy()
        (folder / "pictures" / "light" / f"deep{i}.png").write_bytes(deep)
    plain = tf.io.encode_jpeg(np.full((4, 4, 3), 90, np.uint8)).numpy()
    for i, (order, kind) in enumerate((("<", b"II*\0"), (">", b"MM\0*"))):
        for turn in (1, 6):
            tiff = kind + struct.pack(f"{order}IHHHIHH", 8, 1, 0x0112, 3, 1, turn, 0)
            segment = b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff
            (folder / "pictures" / "dark" / f"{turn}-{i}.jpg").write_bytes(plain[:2] + segment + plain[2:])
    notes = load(folder).notes
    assert len(notes) == 2
    assert notes[0].startswith("2 of 48 pictures are JPEGs that viewers turn by their EXIF orientation")
    assert notes[0].endswith("matters: dark/6-0.jpg, dark/6-1.jpg")
    assert notes[1].startswith("4 of 48 pictures have 16 bits a channel, of which the upper 8 are kept")
    assert load(folder).notes == notes, "what was decoded earlier tells it too"


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    whole = tf.io.encode_png(generator.integers(0, 255, (20, 20, 3)).astype(np.uint8)).numpy()
    for content, words in ((whole[:200], "damaged"), (b"not a picture", "no picture"), (b"", "empty")):
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(Undecodable, match=words):
            read_picture(tmp_path / "a.png", (4, 4), 3)


def test_what_is_no_picture_is_named(folder: Path) -> None:
    (folder / "pictures" / "dark" / "broken.png").write_bytes(b"not a picture")
    (folder / "pictures" / "light" / "notes.txt").write_text("by me")
    (folder / "pictures" / ".DS_Store").write_text("hidden")
    (folder / "pictures" / "light" / ".hidden").write_text("hidden")
    told = refused(folder)
    assert "pictures/dark/broken.png: no picture of a known format" in told
    assert "pictures/light/notes.txt: no picture of a known format" in told
    assert "data.images: 2 of 42 files can't be decoded" in told
    assert "missing: drop" in told
    assert "hidden" not in told
    assert not list((folder / "cache").glob("*")), "nothing is left behind"


def test_what_is_no_picture_is_dropped_and_counted(folder: Path) -> None:
    from hptune.training.data import facts

    before = load(folder)
    for i in range(5):
        (folder / "pictures" / "dark" / f"07-{i}.png").write_bytes(b"not a picture")
    data = load(folder, missing="drop")
    assert facts(data)["notes"] == [
        "5 of 45 files were dropped that can't be decoded: dark/07-0.png, dark/07-1.png, dark/07-2.png, …"
    ]
    assert np.array_equal(data.train.x, before.train.x), "a file that was dropped moves no other"
    assert load(folder, missing="drop").notes == data.notes, "what was decoded earlier tells it too"


def test_ten_of_many_are_told(folder: Path) -> None:
    for i in range(30):
        (folder / "pictures" / "dark" / f"x{i}.png").write_bytes(b"")
    told = refused(folder)
    assert told.count("the file is empty") == 10
    assert "30 of 70 files can't be decoded, 10 of them listed" in told


def test_folders_that_can_not_be_used(folder: Path) -> None:
    (folder / "pictures" / "middle").mkdir()
    assert "the folder pictures/middle is empty" in refused(folder)
    (folder / "none").mkdir()
    assert "none holds no folder. It needs one for each class" in refused(folder, images="none")
    assert "no such file: gone" in refused(folder, images="gone")
    picture(folder / "few" / "a" / "1.png")
    for i in range(9):
        picture(folder / "few" / "b" / f"{i}.png")
    assert "class 'a' has too few rows: 1" in refused(folder, images="few")


def test_none_is_a_picture(folder: Path) -> None:
    for path in folder.glob("pictures/*/*"):
        path.write_bytes(b"x")
    assert "none of the 40 files in pictures is a picture" in refused(folder, missing="drop")


def test_they_are_decoded_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(folder)
    monkeypatch.setattr(images, "read_picture", lambda *_: pytest.fail("decoded a second time"))
    again = load(folder, validation=0.3)
    assert again.fingerprint != first.fingerprint
    assert load(folder).fingerprint == first.fingerprint


def test_a_picture_that_changed_is_decoded_anew(folder: Path) -> None:
    first = load(folder)
    picture(folder / "pictures" / "dark" / "00.png", 5, (6, 6, 3))
    assert load(folder).fingerprint != first.fingerprint


def test_they_stream(folder: Path) -> None:
    held, streamed = load(folder), load(folder, stream=True)
    assert np.array_equal(streamed.train.x[:], held.train.x)
    assert streamed.fingerprint == held.fingerprint


# --- named by a table ------------------------------------------------------------------------------------------------


def table(folder: Path, rows: list[tuple[str, str]]) -> None:
    lines = ["file,age", *(f"{file},{age}" for file, age in rows)]
    (folder / "list.csv").write_text("\n".join(lines) + "\n")


def test_a_table_names_the_files(folder: Path) -> None:
    table(folder, [(f"pictures/dark/{i:02d}.png", f"{20.5 + i}") for i in range(20)])
    data = load(folder, images="list.csv", path="file", target="age", scale="none")
    assert data.task == "regression"
    assert data.train.x[:, 0, 0, 0].tolist() == [y - 0.5 for y in data.train.y]


def test_a_table_with_files_that_are_not_there(folder: Path) -> None:
    rows = [(f"pictures/dark/{i:02d}.png", f"{20.5 + i}") for i in range(22)]
    table(folder, rows)
    told = refused(folder, images="list.csv", path="file", target="age")
    assert "pictures/dark/20.png: No such file or directory" in told
    assert dict(load(folder, images="list.csv", path="file", target="age", missing="drop").rows)["train"] == 12


def test_a_table_needs_its_columns_and_a_folder_has_none(folder: Path) -> None:
    table(folder, [("a.png", "1")])
    assert "list.csv is a file. Name its columns" in refused(folder, images="list.csv")
    assert "data.target: pictures is a folder" in refused(folder, path="file", target="age")
    assert "unknown column 'years'" in refused(folder, images="list.csv", path="file", target="years")
    with pytest.raises(ValueError, match="path and target go together"):
        ImagesData(images="list.csv", size=[4, 4], path="file")
