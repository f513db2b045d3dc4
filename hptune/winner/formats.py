"""train-best --export: the winner in other formats beside `best/model.keras`, where the installed packages allow.

A format that can't hold the model says so; `model.keras` stays whatever happens here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from hptune.base.errors import Problem, RunError, SpecError, unknown
from hptune.experiment.experiment import Experiment
from hptune.run.rundir import RunPaths

FORMATS: Mapping[str, tuple[str, ...]] = {
    "keras": (),
    "savedmodel": (),
    "tflite": (),
    "onnx": ("onnx", "tf2onnx", "onnxruntime"),
}
"""Each format, and the packages that it needs beside TensorFlow. `keras` is written in any case."""


def check_formats(formats: Sequence[str], experiment: Experiment) -> None:
    """Raises SpecError for a format that is not known, whose packages are not installed, or without a Keras model."""
    problems = []
    if formats and not experiment.model.keras:
        problems.append(Problem("--export: is for Keras models, and this experiment has none. Drop it."))
    for name in formats:
        if name not in FORMATS:
            problems.append(Problem(f"--export: {unknown('format', name, FORMATS)}"))
            continue
        lacking = [package for package in FORMATS[name] if find_spec(package) is None]
        if lacking:
            reason = f"{name} needs {' and '.join(lacking)}, which {'is' if len(lacking) == 1 else 'are'} not installed"
            problems.append(Problem(f"--export: {reason}. Run: pip install 'hptune[{name}]'"))
    if problems:
        raise SpecError(*problems)


def export(run: RunPaths, formats: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Write the run's best model in the formats: the path that each has in its place, and for those that can't hold it
    why not.
    """
    if not formats:
        return {}, []
    from hptune.training.export.convert import convert

    written, failed = {}, []
    for name in dict.fromkeys(formats):
        try:
            written[name] = str(run.in_place(convert(run, name)))
        except RunError as error:
            failed.append(str(error))
    return written, failed
