"""Converts the best model's `.keras` file to other formats: written aside, run once, and only then put in place.

The inputs are named as in Keras, with every character but letters a to z, digits and "_" replaced by "_", and an "x"
in front where the name does not begin with a letter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hptune.base import files
from hptune.base.errors import RunError
from hptune.base.quiet import quietly
from hptune.run.rundir import RunPaths
from hptune.training import runtime
from hptune.training.export.predictor import load_best
from hptune.training.export.raw_rows import input_names
from hptune.training.export.sample_rows import sample_rows
from hptune.training.export.signature import Signature, read_signature
from hptune.training.reasons import reason

_KERAS_NAMES = {"savedmodel": "tf_saved_model", "tflite": "litert", "onnx": "onnx"}
_CLOSE = 1e-3
"""How far the answers may differ, relative to their range: converters reorder sums."""

_NOISE = 16
"""Units in the last place of float32 by which a number may be off, whatever the range."""

_WITHOUT_TEXT = ("tflite", "onnx")
"""Formats whose runtimes can't look up text."""


def convert(run: RunPaths, name: str) -> Path:
    """Write `model.keras` in the format `name` beside it; the path. Raises RunError where the format can't hold it."""
    shown = run.in_place(run.best_model)
    if not files.is_file(run.best_model, below=run.runs):
        raise RunError(f"no {name}: {shown} is missing, so nothing can be converted.")
    if name == "keras":
        return run.best_model
    signature = read_signature(run)
    model = load_best(run, signature)
    if not hasattr(model, "inputs"):
        why = f"no {name}: {type(model).__name__} is a class of its own, without the inputs that an export needs"
        raise RunError(f"{why}. Use {shown}, or Keras's own export of what it loads.")
    texts = [one.name for one in model.inputs if one.dtype == "string"]
    if texts and name in _WITHOUT_TEXT:
        why = f"no {name}: it has no operations for text, which the columns {', '.join(texts)} hold"
        raise RunError(f"{why}. Use {shown}, or --export savedmodel.")
    path = run.best_as(name)
    files.remove(path, below=run.runs)
    with quietly():
        problem = _problem(model, path, name=name, signature=signature)
    if problem is not None:
        files.remove(path, below=run.runs)
        raise RunError(f"no {name}: {problem}. Use {shown}.")
    return path


def _problem(model: Any, path: Path, *, name: str, signature: Signature) -> str | None:
    """Convert the model and run the file; what went wrong, or None."""
    try:
        _write(model, path, name)
        gap = _gap(model, path, name=name, signature=signature)
    except Exception as error:  # noqa: BLE001  # converters raise what they like; all of it means that they can't
        wide = [one.name for one in model.inputs if one.dtype in ("float64", "int64")]
        if wide and name == "tflite":
            why = f"it has few operations for numbers of 64 bits, which keep the digits of {', '.join(wide)}"
            return f"{why}: in the file take from each a constant near its mean"
        return f"the model can't be converted ({reason(error)})"
    return f"what was converted answers otherwise, by {gap:.2g} of the answers' range" if gap > _CLOSE else None


def _write(model: Any, path: Path, name: str) -> None:
    import tensorflow as tf

    if name == "onnx":
        _with_plain_statistics(model)
    shapes = [tf.TensorSpec(one.shape, one.dtype, name=called) for one, called in _inputs(model).values()]
    model = _in_prediction(model)
    model.export(path, format=_KERAS_NAMES[name], verbose=False, input_signature=[_as_of(model, shapes)])


def _in_prediction(model: Any) -> Any:
    """A model that always runs in inference mode: Keras's `export` leaves random layers active."""
    k = runtime.keras()
    inputs = [k.Input(batch_shape=one.shape, dtype=one.dtype, name=one.name) for one in model.inputs]
    tensors = _as_of(model, inputs)
    return k.Model(tensors, model(tensors, training=False), name=model.name)


def _with_plain_statistics(model: Any) -> None:
    """Make mean and variance plain numbers, traced as constants: tf2onnx takes captured tensors for inputs."""
    for layer in model._flatten_layers():
        if isinstance(layer, runtime.keras().layers.Normalization):
            layer.mean, layer.variance = np.asarray(layer.mean), np.asarray(layer.variance)


def _inputs(model: Any) -> dict[str, tuple[Any, str]]:
    """The inputs by name, each with its name in other formats."""
    plain = input_names(
        [re.sub(r"^(?![A-Za-z])", "x", re.sub(r"\W", "_", one.name, flags=re.ASCII)) for one in model.inputs]
    )
    return {one.name: (one, called) for one, called in zip(model.inputs, plain, strict=True)}


def _as_of(model: Any, values: list[Any]) -> Any:
    """The values for the inputs in the structure that the model takes: a single one, or a list."""
    alone = isinstance(model, runtime.keras().Sequential) or not isinstance(model.input, list | tuple | dict)
    return values[0] if alone else values


def _gap(model: Any, path: Path, *, name: str, signature: Signature) -> float:
    """By how much the file's answers to some samples are off, relative to the answers' range.

    Rounding of float32 is ignored. For numbers, each output counts by its own range.
    """
    named = _inputs(model)
    ours, theirs = [], []
    for sample in sample_rows([one for one, _ in named.values()], signature):
        named_inputs = dict(zip((called for _, called in named.values()), sample, strict=True))
        tensors = _as_of(model, [runtime.keras().ops.convert_to_tensor(one) for one in sample])
        ours.append(_row(_flat(model(tensors, training=False))))
        theirs.append(_row(_RUNNERS[name](path, named_inputs)))
    answers, expected = np.asarray(theirs, np.float64), np.asarray(ours, np.float64)
    if answers.shape != expected.shape or not np.array_equal(np.isnan(answers), np.isnan(expected)):
        return float("inf")
    answers, expected = np.nan_to_num(answers), np.nan_to_num(expected)
    each = 0 if signature.labels is None else None
    size, spread = np.max(np.abs(expected), axis=each), np.ptp(expected, axis=each)
    noise = _NOISE * np.finfo(np.float32).eps * size
    off = np.maximum(np.abs(answers - expected) - noise, 0) / np.maximum(
        np.maximum(spread, noise), np.finfo(float).tiny
    )
    return float(np.max(off))


def _row(outputs: Sequence[Any]) -> NDArray[Any]:
    """The answer to one sample, sorted where there are several outputs: formats order them differently."""
    row = np.concatenate([np.ravel(one) for one in outputs])
    return np.sort(row) if len(outputs) > 1 else row


def _flat(outputs: Any) -> list[Any]:
    several = list(outputs.values()) if isinstance(outputs, Mapping) else outputs
    return list(several) if isinstance(several, list | tuple) else [several]


def _run_savedmodel(path: Path, sample: Mapping[str, Any]) -> list[Any]:
    import tensorflow as tf

    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    return _flat(serve(**{name: tf.constant(value) for name, value in sample.items()}))


def _run_tflite(path: Path, sample: Mapping[str, Any]) -> list[Any]:
    import tensorflow as tf

    return _flat(tf.lite.Interpreter(model_path=str(path)).get_signature_runner()(**sample))


def _run_onnx(path: Path, sample: Mapping[str, Any]) -> list[Any]:
    from onnxruntime import InferenceSession

    answers: list[Any] = InferenceSession(str(path)).run(None, dict(sample))
    return answers


_RUNNERS: Mapping[str, Callable[[Path, Mapping[str, Any]], list[Any]]] = {
    "savedmodel": _run_savedmodel,
    "tflite": _run_tflite,
    "onnx": _run_onnx,
}
"""By format, the function that runs a file on a sample."""
