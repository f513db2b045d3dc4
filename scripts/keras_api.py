"""Write `hptune/experiment/keras_api.json`: names and arguments of Keras's public classes, from the installed Keras.

With this table a YAML is checked in milliseconds and without TensorFlow. Run it after raising Keras:

    python scripts/keras_api.py

A test compares the file with what `table()` finds, so that it can't go stale.
"""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # after the line above, which keeps TensorFlow quiet

FILE = Path(__file__).parent.parent / "hptune" / "experiment" / "keras_api.json"

# Base classes, and layers that can't be said in YAML or take their input from elsewhere.
_NO_LAYERS = {"Layer", "Wrapper", "Input", "InputLayer", "Lambda", "TFSMLayer", "JaxLayer", "FlaxLayer"}
_NO_LAYERS |= {"TorchModuleWrapper"}
_NOT_NAMES = {"get", "serialize", "deserialize", "Layer", "Loss", "Metric", "Initializer", "Regularizer", "Optimizer"}
_NOT_NAMES |= {"MeanMetricWrapper", "LossScaleOptimizer", "MultiOptimizer", "OptimizerMap", "CTC", "ctc"}


def arguments(target: Any, base: Any = None) -> dict[str, Any]:
    """name -> {} where required, else {"default": value} where it is plain, else {"default": "..."}."""
    found: dict[str, Any] = {}
    signature = inspect.signature(target.__init__ if inspect.isclass(target) else target)
    for name, parameter in list(signature.parameters.items()):
        if name == "self" or parameter.kind is parameter.VAR_POSITIONAL:
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            # Only layers pass theirs on to an own base; the optimizers' **kwargs are refused by Keras itself.
            found = {**found, **{k: v for k, v in (arguments(base) if base else {}).items() if k not in found}}
        elif parameter.default is parameter.empty:
            found[name] = {}
        else:
            found[name] = {"default": _plain(parameter.default)}
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else "..."


def table() -> dict[str, Any]:
    """The whole table, as the file holds it."""
    return {
        "keras": keras.__version__,
        "layers": _layers(),
        "optimizers": _named(keras.optimizers, keras.optimizers.get),
        "losses": _named(keras.losses, keras.losses.get),
        "metrics": _metrics(),
        "activations": sorted(_named(keras.activations, keras.activations.get)),
        "initializers": _named(keras.initializers, keras.initializers.get),
        "regularizers": _named(keras.regularizers, keras.regularizers.get),
        "applications": _applications(),
    }


# What hptune gives to an application itself: its input, its head, its weights.
_HPTUNES_OWN = {"include_top", "weights", "input_tensor", "input_shape", "pooling", "classes", "classifier_activation"}


def _applications() -> dict[str, Any]:
    found = {name: getattr(keras.applications, name) for name in dir(keras.applications) if name[0].isupper()}
    return {
        name: {k: v for k, v in arguments(make).items() if k not in {*_HPTUNES_OWN, "name", "include_preprocessing"}}
        for name, make in found.items()
    }


def _layers() -> dict[str, Any]:
    base = keras.layers.Layer
    classes = {name: getattr(keras.layers, name) for name in dir(keras.layers) if name not in _NO_LAYERS}
    return {
        name: arguments(cls, base)
        for name, cls in sorted(classes.items())
        if inspect.isclass(cls) and issubclass(cls, base)
    }


_SHORT = ("mse", "mae", "mape", "msle", "bce", "kld", "MSE", "MAE", "MAPE", "MSLE", "BCE", "KLD")
_OTHER = ("zero", "one", "normal", "uniform", "l1l2")


def _named(module: Any, get: Any) -> dict[str, Any]:
    """Every name that the module's own `get` takes, with the arguments of what it stands for."""
    classes = [n for n in dir(module) if not n.startswith("_") and n not in _NOT_NAMES]
    lowered = [form for n in classes for form in (n.lower(), _snake(n))]
    found: dict[str, Any] = {}
    for name in sorted({*classes, *lowered, *_SHORT, *_OTHER} - _NOT_NAMES):
        target = _target(module, get, name)
        if target is not None:
            given = arguments(target)
            found[name] = {k: v for k, v in given.items() if k not in ("y_true", "y_pred", "x", "kwargs")}
    return found


def _target(module: Any, get: Any, name: str) -> Any:
    """The class or function behind `name`, or None where `get` does not take it."""
    try:
        made = get(name)
    except (TypeError, KeyError):  # a class with required arguments: `get` found it and could not make it
        return getattr(module, name, None)
    except ValueError:
        return None
    if inspect.isclass(made) or inspect.isroutine(made) or made is None:
        return made
    return type(made)


def _metrics() -> dict[str, Any]:
    """As `_named`, with the name that the metric reports under: its own where it is a class, else the one asked for."""
    found: dict[str, Any] = {}
    for name, given in _named(keras.metrics, keras.metrics.get).items():
        target = _target(keras.metrics, keras.metrics.get, name)
        is_class = inspect.isclass(target)
        reported = (given.get("name", {}).get("default") or _snake(target.__name__)) if is_class else name
        found[name] = {"reported": reported, "class": target.__name__ if is_class else None, "arguments": given}
    return found


def _snake(name: str) -> str:
    return str(keras.src.utils.naming.to_snake_case(name))


if __name__ == "__main__":
    FILE.write_text(json.dumps(table(), indent=1, sort_keys=True) + "\n")
    print(f"{FILE}: {len(_layers())} layers of Keras {keras.__version__}")
