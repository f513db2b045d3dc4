"""KerasTuner's own HyperModels: residual networks, Xception and EfficientNet, over pictures of classes."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from hptune.base.errors import spec_error
from hptune.base.quiet import quietly
from hptune.experiment.model import HypermodelModel
from hptune.training.data import Data
from hptune.training.models.hypermodel import Builder, keras_tuner
from hptune.training.runtime import keras


def ready_made(spec: HypermodelModel, data: Data, folder: Path) -> Builder:  # noqa: ARG001  # it names no file
    """The builder of a ready-made HyperModel. Raises SpecError unless the data is pictures of classes.

    None of the three asks for a parameter under some values of another alone.
    """
    shape = tuple(data.train.x.shape[1:])
    if len(shape) != 3 or data.task != "classes":
        problem = f"{spec.hypermodel} takes pictures [height, width, channels] of classes, and this is {data.task}"
        raise spec_error(f"{problem} over samples of {list(shape)}. Use layers or a preset.", "model", "hypermodel")
    assert data.labels is not None
    options: dict[str, Any] = {"input_shape": shape, "classes": len(data.labels)}
    known = keras_tuner().applications
    if spec.hypermodel == "efficientnet":
        hypermodel = known.HyperEfficientNet(**options, augmentation_model=_as_trained(data))
        return Builder(_Downloading(hypermodel), branches=False)
    kind = known.HyperResNet if spec.hypermodel == "resnet" else known.HyperXception
    return Builder(kind(**options), branches=False)


class _Downloading:
    """HyperEfficientNet, which always asks for ImageNet's weights."""

    def __init__(self, hypermodel: Any) -> None:
        self._hypermodel = hypermodel

    def build(self, hp: Any) -> Any:
        try:
            with quietly(), redirect_stdout(sys.stderr):
                return self._hypermodel.build(hp)
        except Exception as error:  # a download fails in many ways
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            why = lines[0] if lines else type(error).__name__
            problem = f"efficientnet starts from ImageNet's weights, which could not be loaded ({why})"
            remedy = "Put them into ~/.keras/models, or use resnet, xception or application: EfficientNetB0"
            raise spec_error(f"{problem}. {remedy}.", "model", "hypermodel") from error


def _as_trained(data: Data) -> Any:
    """Pictures of three channels in [0, 255], as EfficientNet was trained on them."""
    sample = np.asarray(data.train.x[:256])
    x = inputs = keras().Input(sample.shape[1:])
    if sample.shape[-1] == 1:
        x = keras().layers.Concatenate()([x, x, x])
    return keras().Model(inputs, keras().layers.Rescaling(255.0 if sample.max() <= 1.5 else 1.0)(x))
