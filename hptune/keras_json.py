"""What Keras's own file of settings says, read without Keras."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

_USUAL: dict[str, Any] = {
    "floatx": "float32",
    "epsilon": 1e-7,
    "backend": "tensorflow",
    "image_data_format": "channels_last",
}


def keras_json() -> dict[str, Any]:
    """`floatx`, `epsilon`, `backend` and `image_data_format` as `keras.json` has them; Keras's defaults for the rest.

    As Keras does, it passes over a file that it can't read.
    """
    home = os.environ.get("KERAS_HOME")
    path = (Path(home) if home is not None else Path("~/.keras").expanduser()) / "keras.json"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        told = {}
    return _USUAL | {name: told[name] for name in _USUAL if isinstance(told, dict) and name in told}
