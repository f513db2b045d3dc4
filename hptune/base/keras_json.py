"""Keras's own settings file, read without Keras."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from hptune.base.errors import Problem, SpecError

_USUAL: dict[str, Any] = {
    "floatx": "float32",
    "epsilon": 1e-7,
    "backend": "tensorflow",
    "image_data_format": "channels_last",
}


def keras_json() -> dict[str, Any]:
    """`floatx`, `epsilon`, `backend` and `image_data_format` as `keras.json` has them; Keras's defaults for the rest.

    Like Keras, it ignores a file that it can't read.
    """
    try:
        written = json.loads(_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        written = {}
    return _USUAL | {name: written[name] for name in _USUAL if isinstance(written, dict) and name in written}


def check_keras_json() -> None:
    """Raises SpecError for settings that Keras would refuse with a bare AssertionError."""
    settings = keras_json()
    wanted = {name: " or ".join(known) for name, known in _KNOWN.items() if settings[name] not in known}
    wanted |= {} if isinstance(settings["epsilon"], float) else {"epsilon": "a number such as 1e-7"}
    for name, rule in wanted.items():
        raise SpecError(Problem(f"{_path()}: {name} must be {rule}, got {settings[name]!r}. Fix the file."))


_KNOWN = {"floatx": ("float16", "float32", "float64"), "image_data_format": ("channels_last", "channels_first")}


def _path() -> Path:
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home is not None else Path("~/.keras").expanduser()) / "keras.json"
