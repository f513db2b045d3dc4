"""Whether a model's output fits the target, told before the first trial."""

from __future__ import annotations

from typing import Any

from hptune.errors import KeyPath, Problem, SpecError
from hptune.training.data import Data


def check_output(model: Any, data: Data, path: KeyPath) -> None:
    """Compare the last layer's shape with the target. Raises SpecError with the remedy.

    Integer labels 0..k-1 need k values a sample (or one sigmoid where k is 2), one-hot rows as many as their columns,
    regression one for each output. `path`: where the last layer stands in the YAML.
    """
    shape = getattr(model, "output_shape", None)
    if not isinstance(shape, tuple) or not shape or isinstance(shape[0], tuple):
        return  # several outputs, or a model whose shapes are known once it ran
    got = 1 if len(shape) == 1 else shape[-1]
    if data.task == "regression":
        outputs = 1 if data.train.y.ndim == 1 else data.train.y.shape[-1]
        if got != outputs or len(shape) > 2:
            _refuse(path, shape, f"the target has {outputs} values a sample", f"End with Dense: {{units: {outputs}}}")
        return
    assert data.labels is not None
    classes = len(data.labels)
    if len(shape) > 2:
        _refuse(path, shape, "the target is one class a sample", "Put Flatten or a pooling layer before the last layer")
    if data.train.y.ndim == 1 and classes == 2 and got == 1:
        return
    if got != classes:
        remedy = f"End with Dense: {{units: {classes}, activation: softmax}}"
        _refuse(path, shape, f"the target has {classes} classes", remedy)


def _refuse(path: KeyPath, shape: tuple[Any, ...], target: str, remedy: str) -> None:
    gives = " x ".join(str(size) for size in shape[1:])
    raise SpecError(Problem(f"the last layer gives {gives} values a sample, but {target}. {remedy}.", path))
