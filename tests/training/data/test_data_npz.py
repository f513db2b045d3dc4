"""npz files that can't be used, each with its words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hptune.base.errors import SpecError
from hptune.experiment.data import NpzData
from hptune.training.data import load_data

X, Y = np.zeros((30, 2)), np.arange(30) % 2


def refused(folder: Path, **options: Any) -> str:
    with pytest.raises(SpecError) as error:
        load_data(NpzData(**{"npz": "t.npz", **options}), folder=folder, seed=0)
    return str(error.value)


@pytest.mark.parametrize(
    ("arrays", "options", "words"),
    [
        ({"x": X, "y": Y}, {"x": "pictures"}, "data.x: t.npz: unknown array 'pictures'. Known: x, y."),
        ({"x": X, "labels": Y}, {"y": "label"}, "data.y: t.npz: unknown array 'label'; did you mean 'labels'?"),
        ({"x": X, "y": Y[:29]}, {}, "data.npz: 'x' has 30 samples and 'y' has 29."),
        ({"x": X.astype(object), "y": Y}, {}, "data.x: 'x' in t.npz holds Python objects."),
        ({"x": X.astype(str), "y": Y}, {}, "data.x: 'x' must hold numbers"),
        ({"x": X[:0], "y": Y[:0]}, {}, "data.x: 'x' must hold numbers and at least one"),
        ({"x": 3.0, "y": Y}, {}, "data.x: 'x' in t.npz is a single value."),
        ({"x": X, "y": np.zeros((30, 2, 2))}, {}, "data.y: 'y' must be numbers, booleans or text, [n] or [n, k]"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, arrays: dict[str, Any], options: dict[str, Any], words: str) -> None:
    np.savez(tmp_path / "t.npz", **arrays)
    assert words in refused(tmp_path, **options)


def test_the_arrays_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", a=X, b=Y)
    assert load_data(NpzData(npz="t.npz", x="a", y="b"), folder=tmp_path, seed=0).rows["train"] == 18


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 broken"])
def test_files_that_are_no_npz(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.npz").write_bytes(content)
    assert "data.npz: t.npz is no readable .npz file" in refused(tmp_path)


def test_a_damaged_array_is_told(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "t.npz", x=np.random.RandomState(0).normal(size=(200, 5)), y=np.arange(200) % 2)
    content = bytearray((tmp_path / "t.npz").read_bytes())
    content[1000:1100] = bytes(100)
    (tmp_path / "t.npz").write_bytes(content)
    assert "data.npz: t.npz is no readable .npz file" in refused(tmp_path)


def test_wrong_paths(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", X)
    assert "data.npz: no such file: gone.npz (looked for" in refused(tmp_path, npz="gone.npz")
    assert "data.npz: must be a file, got the folder ." in refused(tmp_path, npz=".")
    assert "data.npz: one.npy holds one array." in refused(tmp_path, npz="one.npy")
