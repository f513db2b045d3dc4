"""Models from `.keras` files, as they were saved, but not compiled: the YAML's `training` says how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hptune.base.errors import spec_error
from hptune.base.quiet import quietly
from hptune.experiment.model import SavedModel
from hptune.training.data import Data
from hptune.training.own.classes import from_config, load_own
from hptune.training.runtime import keras


def load_saved(spec: SavedModel, data: Data, folder: Path) -> Any:
    """The model, not compiled; with fresh weights under `reinitialize`. Code inside the file is never run.

    Raises SpecError where the file can't be read, or takes other samples than the data gives.
    """
    path = folder / spec.saved
    if not path.exists():
        problem = f"no such file: {spec.saved} (looked for {path}). A relative path starts at the YAML file's folder."
        raise spec_error(problem, "model", "saved")
    custom = load_own(spec.custom_objects, folder)
    try:
        with quietly():
            model = keras().models.load_model(path, custom_objects=custom, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises anything for a file that it can't read
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        why = (lines[0] if lines else type(error).__name__).rstrip(".")
        problem = f"{spec.saved} can't be loaded: {why}"
        remedy = "Save it by model.save('name.keras'), and name classes of your own under custom_objects"
        raise spec_error(f"{problem}. {remedy}.", "model", "saved") from error
    check_input(model, data)
    return from_config(model)(model.get_config()) if spec.reinitialize else model


def check_input(model: Any, data: Data) -> None:
    """Raises SpecError unless the model takes samples of the data's shape."""
    wanted, shape = getattr(model, "input_shape", None), tuple(data.train.x.shape[1:])
    if not isinstance(wanted, tuple) or not wanted or isinstance(wanted[0], tuple | list):
        return  # several inputs, or a class whose shapes are known once it ran
    fits = len(wanted) == len(shape) + 1 and all(w in (None, g) for w, g in zip(wanted[1:], shape, strict=True))
    if not fits:
        problem = f"takes samples of {list(wanted[1:])}, and the data gives {list(shape)}"
        raise spec_error(f"{problem}. Choose other data, or another model.", "model", "saved")
