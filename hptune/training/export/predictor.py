"""A run's winner as a function of raw samples, whatever kind of model it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hptune.base import files
from hptune.base.errors import HptuneError, RunError, spec_error
from hptune.run.rundir import RunPaths
from hptune.training import runtime
from hptune.training.data.arrays import Array
from hptune.training.data.raw import take
from hptune.training.export.answers import Outputs
from hptune.training.export.raw_rows import as_inputs
from hptune.training.export.signature import Signature
from hptune.training.export.skops_predictor import SkopsPredictor
from hptune.training.export.unseen import RawSamples
from hptune.training.models.hypermodel import from_code
from hptune.training.own.classes import lenient, load_own

BATCH = 256


class Predictor(Protocol):
    """The winner as a function of raw samples."""

    @property
    def width(self) -> int:
        """How many numbers it gives for a sample."""
        ...

    def __call__(self, samples: RawSamples) -> Outputs:
        """The winner's outputs for raw samples."""
        ...


def open_predictor(run: RunPaths, signature: Signature, trust: Sequence[str] = ()) -> Predictor:
    """The winner in the run's `best/`. Raises SpecError where there is none that can be loaded, RunError where
    something other than a file is in its place.

    trust: types in a scikit-learn model that the user trusts, as `module:Class`.
    """
    estimator, model, _ = (files.is_file(one, below=run.runs) for one in run.winners)
    if estimator:
        return SkopsPredictor(run, signature, trust)
    if trust:
        raise spec_error("--trust: is for scikit-learn models, and this is none. Drop it.")
    if signature.unusable:
        raise spec_error(f"{signature.unusable}. So there is nothing to predict with.")
    if model or signature.built is not None:
        return KerasPredictor(run, signature)
    problem = (
        f"{run.best_model} is not there: either it was taken away, or its class can't be saved whole (no get_config)"
    )
    raise spec_error(f"{problem}. See hptune train-best --run {run.name}")


def load_best(run: RunPaths, signature: Signature) -> Any:
    """`best/model.keras`, not compiled, with the user's own code in it; or the model that this code builds, with the
    saved weights. Raises what Keras raises.
    """
    if signature.built is not None:
        builder = from_code(signature.built["by"], Path(signature.folder))
        if (seed := signature.built.get("seed")) is not None:
            runtime.keras().utils.set_random_seed(seed)
        model, _ = builder.build(signature.built["values"])
        if signature.built["shape"] is not None:
            model(np.zeros(tuple(signature.built["shape"])))
        model.load_weights(run.best_weights)
        return model
    own = lenient(load_own(signature.code, Path(signature.folder)))
    return runtime.keras().models.load_model(run.best_model, custom_objects=own, compile=False, safe_mode=True)


class KerasPredictor:
    """`best/model.keras`."""

    def __init__(self, run: RunPaths, signature: Signature) -> None:
        runtime.start()
        self._signature = signature
        try:
            self._model = load_best(run, signature)
        except HptuneError:
            raise
        except Exception as error:  # Keras for a file that it can't take, or code of the user's that it is made by
            path = run.best_model if signature.built is None else run.best_weights
            lines = str(error).strip().splitlines() or [type(error).__name__]
            remedy = f"Fix the code, or write the model anew: hptune train-best --run {run.name}"
            raise RunError(f"{path} can't be loaded: {lines[0].rstrip('.')}. {remedy}.") from error

    @cached_property
    def _floats(self) -> str:
        """The dtype of its inputs of numbers."""
        dtypes = [one.dtype for one in getattr(self._model, "inputs", None) or []]
        return "float64" if dtypes == ["float64"] else "float32"

    @property
    def width(self) -> int:
        """The numbers of all the model's outputs together."""
        outputs = getattr(self._model, "outputs", None)
        if outputs is None:  # a class of the user's own says no shapes before it was called
            (shape,) = {tuple(one) for one in self._model._build_shapes_dict.values()}
            outputs = runtime.keras().tree.flatten(self._model.compute_output_spec(runtime.keras().KerasTensor(shape)))
        return sum(math.prod(output.shape[1:]) for output in outputs)

    def __call__(self, samples: RawSamples) -> Outputs:
        """As in `Predictor`, `BATCH` samples at a time. Raises `RunError` for samples that the model can't take."""
        outputs = [np.empty((0, self.width), np.float32)]
        for start in range(0, count(samples), BATCH):
            batch = take(samples, np.arange(start, min(start + BATCH, count(samples))))
            outputs.append(_side_by_side(self._predicted(self._inputs(batch)), self._signature.targets))
        return Outputs(np.concatenate(outputs))

    def _predicted(self, inputs: Any) -> Any:
        """Raises RunError for what the model can't take, such as a word that its `Embedding` lacks."""
        try:
            return self._model.predict_on_batch(inputs)
        except Exception as error:  # TensorFlow raises anything
            lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
            detail = next((line for line in lines if "indices[" in line), lines[0])
            raise RunError(
                f"the model can't take these samples: {detail.strip().rstrip('.')}. Correct them."
            ) from error

    def _inputs(self, samples: RawSamples) -> Any:
        if not self._signature.raw:
            return self._signature.preparation(samples, np.arange(count(samples)))
        if isinstance(samples, np.ndarray):
            return samples.astype(np.int32 if self._signature.integers else self._floats)
        return as_inputs(samples)


def count(samples: RawSamples) -> int:
    """How many samples there are."""
    return len(samples) if isinstance(samples, np.ndarray) else len(samples[0].values)


def _side_by_side(outputs: Any, names: tuple[str, ...]) -> Array:
    """[n, width]: all outputs side by side, ordered by `names` where these are their names, else as in the model."""
    if isinstance(outputs, Mapping):
        outputs = [outputs[name] for name in (names if set(names) == set(outputs) else outputs)]
    several = outputs if isinstance(outputs, list | tuple) else [outputs]
    return np.concatenate([np.asarray(one).reshape(len(one), -1) for one in several], axis=1)
