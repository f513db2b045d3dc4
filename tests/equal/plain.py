"""The plain program: what a user of Keras would write for an experiment, by hand, with Keras and numpy alone.

Nothing of hptune's is used but the derivation of seeds, which its contract is: a program that is compared with itself
proves nothing. What hptune defines beside Keras stands here in so many words: the order of the samples, the recipe's
penalty and smoothing, standardised targets, the schedules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray

from hptune.base import seeds

from .case import Tree
from .rates import rates

Array: TypeAlias = NDArray[Any]
Part: TypeAlias = tuple[Any, ...]

KERNELS = ("kernel_regularizer", "depthwise_regularizer", "pointwise_regularizer")
"""The arguments that the recipe's penalty stands for: a penalty on every kernel."""

MODULES = {"initializer": "initializers", "regularizer": "regularizers", "constraint": "constraints"}
LAYERS = ("layer", "forward_layer", "backward_layer", "cell", "cells", "layers")


@dataclass(frozen=True, slots=True)
class Told:
    """What the plain program gives.

    curves: metric -> one value an epoch; `loss` is the data's alone. variables: (is a seed's, value) of the model's,
    in their order. slots: the optimizer's, without its rate. initial: the variables before training.
    test: the metrics of the test part with the weights that `fit` leaves.
    """

    curves: Mapping[str, tuple[float, ...]]
    variables: tuple[tuple[bool, Array], ...]
    slots: tuple[Array, ...]
    initial: tuple[tuple[bool, Array], ...]
    test: Mapping[str, float]


# --- from the YAML's words to Keras's objects -----------------------------------------------------------------------


def _named(module: str, value: Any) -> Any:
    """A regulariser, initialiser or constraint: its name, or {Name: {arguments}}."""
    found = getattr(keras, module)
    if value is None:
        return None
    if isinstance(value, str):
        return found.get(value)
    ((name, arguments),) = value.items()
    cls = getattr(found, name, None)
    return cls(**(arguments or {})) if cls is not None else found.get({"class_name": name, "config": arguments or {}})


def layer(given: Any, penalty: Any = None, dtype: str | None = None) -> Any:
    """A layer from its name or {Name: {arguments}}; `penalty` on each kernel that was not given its own."""
    name, arguments = next(iter(given.items())) if isinstance(given, dict) else (given, {})
    cls = getattr(keras.layers, name)
    arguments = {k: v for k, v in (arguments or {}).items() if k != "from"}
    if penalty is not None:
        takes = _parameters(cls)
        arguments = {**{kernel: penalty for kernel in KERNELS if kernel in takes}, **arguments}
    made = {key: _argument(key, value, penalty) for key, value in arguments.items()}
    if dtype is not None:
        made.setdefault("dtype", dtype)
    found = cls(**made)
    if arguments.get("seed") is not None:
        found.seed_was_given = True
    return found


def _parameters(cls: Any) -> frozenset[str]:
    import inspect

    return frozenset(
        p for one in cls.__mro__ if "__init__" in vars(one) for p in inspect.signature(one.__init__).parameters
    )


def _argument(key: str, value: Any, penalty: Any) -> Any:
    if key in LAYERS and value is not None:
        return [layer(one, penalty) for one in value] if isinstance(value, list) else layer(value, penalty)
    module = MODULES.get(key.rsplit("_", 1)[-1])
    if module is not None:
        return _named(module, value)
    return tuple(value) if isinstance(value, list) else value


def optimizer(given: Mapping[str, Any], schedule: Any) -> Any:
    """The optimizer by its short name, at its rate or under a schedule."""
    name, wanted = given.get("name", "adam"), {k: v for k, v in given.items() if k != "name"}
    classes = {n.lower(): getattr(keras.optimizers, n) for n in dir(keras.optimizers) if n[0].isupper()}
    return classes[name.replace("_", "").lower()](
        **{**wanted, "learning_rate": schedule or wanted.get("learning_rate", 1e-3)}
    )


def loss(given: Any, own: Mapping[str, Callable[..., Any]]) -> Any:
    """A loss as `compile` takes it: a name, an object, or the user's own function."""
    if isinstance(given, str):
        return own[given.split(":")[1]] if ":" in given else given
    ((name, arguments),) = given.items()
    # A function with options is what `compile` makes of it in code: the function with these arguments.
    found = keras.losses.get(name) if name[0].islower() or name.isupper() else getattr(keras.losses, name)
    if isinstance(found, type):
        return found(**(arguments or {}))
    if arguments:
        return lambda y_true, y_pred: found(y_true, y_pred, **arguments)
    return found


def metric(given: Any) -> Any:
    """A metric as `compile` takes it; an object has the name that the first of its class in a process has."""
    if isinstance(given, str):
        return given
    ((name, arguments),) = given.items()
    found, arguments = getattr(keras.metrics, name, None), dict(arguments or {})
    if not isinstance(found, type):
        return keras.metrics.get({"class_name": name, "config": arguments})
    first = re.sub(r"_\d+$", "", found(**arguments).name)
    return found(**{"name": first, **arguments})


def smoothed(given: Any, share: float) -> Any:
    """The loss of targets y·(1 − s) + s/k, k classes; for one sigmoid output k is 2."""
    name, arguments = next(iter(given.items())) if isinstance(given, dict) else (given, {})
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    logits = bool((arguments or {}).get("from_logits", False))
    reduction = (arguments or {}).get("reduction", "sum_over_batch_size")
    ignored = (arguments or {}).get("ignore_class")
    if name in ("binary_crossentropy", "bce", "b_c_e"):
        return keras.losses.BinaryCrossentropy(from_logits=logits, label_smoothing=share, reduction=reduction)
    if name == "categorical_crossentropy":
        return keras.losses.CategoricalCrossentropy(from_logits=logits, label_smoothing=share, reduction=reduction)

    from keras.src.backend import set_keras_mask

    class Sparse(keras.losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            labels = keras.ops.reshape(keras.ops.cast(y_true, "int32"), [-1])
            soft = keras.ops.one_hot(labels, y_pred.shape[-1]) * (1 - share) + share / y_pred.shape[-1]
            each = keras.losses.categorical_crossentropy(soft, y_pred, from_logits=logits)
            if ignored is None:
                return each
            each = each * keras.ops.cast(labels != ignored, each.dtype)
            set_keras_mask(each, labels != ignored)  # as Keras's own does: the mean is over what is not ignored
            return each

    return Sparse(reduction=reduction)


class InUnit(keras.metrics.Metric):
    """A metric of standardised targets and predictions, taken in the target's own unit."""

    def __init__(self, inner: Any, mean: Array, deviation: Array, **more: Any) -> None:
        super().__init__(**more)
        self.inner, self.mean, self.deviation = inner, mean, deviation

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        def back(a: Any) -> Any:
            return keras.ops.cast(a, "float32") * self.deviation + self.mean

        self.inner.update_state(back(y_true), back(y_pred), sample_weight)

    def result(self) -> Any:
        return self.inner.result()

    def reset_state(self) -> None:
        self.inner.reset_state()


# --- the model ------------------------------------------------------------------------------------------------------


class _DataLoss:
    """A model that tells the data's loss apart from what is trained on: without penalties, without smoothing."""

    data_loss: Any = None

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        total = super().compute_loss(x, y, y_pred, sample_weight, training=training)  # type: ignore[misc]
        if self.data_loss is not None:
            rows = keras.ops.shape(keras.tree.flatten(x)[0])[0]
            self.tracker.update_state(self.data_loss(y, y_pred, sample_weight), sample_weight=rows)
        return total

    def tell_apart(self, plain: Any, loss_weights: Any) -> None:
        """Report `data_loss`, the mean of the loss `plain` over the samples as Keras means its own."""
        from keras.src.trainers.compile_utils import CompileLoss

        self.data_loss = CompileLoss(plain, loss_weights)
        self.tracker = keras.metrics.Mean(name="data_loss")


class Stack(_DataLoss, keras.Sequential):
    """Layers one after the other."""


class Net(_DataLoss, keras.Model):
    """Layers wired by their names."""


def model(experiment: Tree, x: Any) -> Any:
    """The Keras model of the experiment, in which no `$name` is left, over samples such as `x`."""
    section = experiment["model"]
    penalty = _recipe_penalty(experiment)
    half = experiment.get("execution", {}).get("precision", "float32") != "float32"
    given = section["layers"]
    wired = section.get("inputs") or section.get("outputs") or any("from" in _arguments(one) for one in given)
    ends = section.get("outputs") or []
    last = {_arguments(one).get("name"): n for n, one in enumerate(given)}
    float32 = {last[name] for name in ends} or {len(given) - 1}  # a softmax in half precision is too coarse

    def made(number: int, one: Any) -> Any:
        return layer(one, penalty, "float32" if half and number in float32 else None)

    if not wired:
        return Stack([keras.Input(x.shape[1:], dtype=x.dtype.name), *(made(n, one) for n, one in enumerate(given))])
    inputs = {"input": keras.Input(x.shape[1:], dtype=x.dtype.name)}
    tensors = dict(inputs)
    latest = inputs["input"]
    for number, one in enumerate(given):
        arguments = _arguments(one)
        source = arguments.get("from")
        if isinstance(source, dict):
            latest = made(number, one)(**{k: _taken(v, tensors) for k, v in source.items()})
        else:
            latest = made(number, one)(latest if source is None else _taken(source, tensors))
        if "name" in arguments:
            tensors[arguments["name"]] = latest
    return Net(inputs["input"], {name: tensors[name] for name in ends} if len(ends) > 1 else latest)


def _taken(source: Any, tensors: Mapping[str, Any]) -> Any:
    return [tensors[name] for name in source] if isinstance(source, list) else tensors[source]


def _arguments(one: Any) -> Mapping[str, Any]:
    return next(iter(one.values())) or {} if isinstance(one, dict) else {}


def _recipe_penalty(experiment: Tree) -> Any:
    kernel = (experiment["training"].get("regularization") or {}).get("kernel")
    return {"L1L2": {"l1": kernel.get("l1") or 0.0, "l2": kernel.get("l2") or 0.0}} if kernel else None


# --- training -------------------------------------------------------------------------------------------------------


class Batches(keras.utils.PyDataset):
    """The samples in the order that each epoch has, a pure function of the seed and the epoch's number."""

    def __init__(self, part: Part, batch_size: int, order_seed: int | None) -> None:
        super().__init__()
        self.part, self.size, self.seed, self.epoch = part, batch_size, order_seed, 0
        self.rows = len(keras.tree.flatten(part)[0])

    def __len__(self) -> int:
        return -(-self.rows // self.size)

    def __getitem__(self, index: int) -> Part:
        order = np.arange(self.rows)
        if self.seed is not None:
            order = np.random.default_rng(seeds.derive(self.seed, "order", self.epoch)).permutation(self.rows)
        rows = order[index * self.size : (index + 1) * self.size]
        return tuple(keras.tree.map_structure(lambda a: a[rows], one) for one in self.part)


class _Watch(keras.callbacks.Callback):
    """Says which epoch it is, and keeps what its end shows: `fit` may put averaged weights in place when it is done."""

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self.batches = batches
        self.penalties: list[float] = []
        self.variables: tuple[tuple[bool, Array], ...] = ()
        self.slots: tuple[Array, ...] = ()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.batches.epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        penalised = [v for v in self.model.trainable_variables if getattr(v, "regularizer", None) is not None]
        self.penalties.append(float(sum(float(v.regularizer(v)) for v in penalised)))
        self.variables = variables(self.model)
        optimizer = self.model.optimizer
        rate = getattr(optimizer, "_learning_rate", None)
        self.slots = tuple(np.asarray(v) for v in optimizer.variables if v is not rate)


def variables(model: Any) -> tuple[tuple[bool, Array], ...]:
    """(whether it is a seed generator's, its value) of every variable, in the model's order."""
    return tuple((_is_seed(v), np.asarray(v)) for v in model.variables)


def _is_seed(variable: Any) -> bool:
    return str(variable.path).endswith("seed_generator_state")


def train(
    experiment: Tree,
    parts: Mapping[str, Part],
    *,
    initial: Sequence[Array] | None,
    order_seed: int | None,
    epochs: int,
    own: Mapping[str, Callable[..., Any]] | None = None,
) -> Told:
    """Build, compile and fit. initial: every variable before training; None: Keras's own. Raises what Keras raises."""
    keras.config.set_dtype_policy(experiment.get("execution", {}).get("precision", "float32"))
    told = experiment["training"]
    own = own or {}
    train_part, validation = parts["train"], parts["validation"]
    unit = _unit(experiment, train_part)
    if unit is not None:
        train_part, validation = (
            (p[0], ((p[1] - unit[0]) / unit[1]).astype(np.float32), *p[2:]) for p in (train_part, validation)
        )
    net = model(experiment, train_part[0])
    outputs = experiment["model"].get("outputs") or []
    names = outputs if len(outputs) > 1 else []
    if names:
        train_part, validation = (_by_name(p, outputs) for p in (train_part, validation))
    before = assign(net, initial)
    share = (told.get("regularization") or {}).get("label_smoothing")
    make_loss = (lambda one: smoothed(one, share)) if share else (lambda one: loss(one, own))
    units = {name: None if unit is None else (unit[0][i], unit[1][i]) for i, name in enumerate(names)}
    metrics = _each(
        names,
        told.get("metrics") or [],
        lambda some, name=None: [_in_unit(metric(one), units[name] if name else unit) for one in some],
        named=True,
    )
    schedule = rates(experiment, steps=-(-len(train_part[0]) // told["batch_size"]))
    shares = told.get("loss_weights") or {}
    weights = {name: shares.get(name, 1.0) for name in names} if shares else None
    net.compile(
        optimizer(told["optimizer"], schedule),
        _each(names, told["loss"], make_loss),
        loss_weights=weights,
        metrics=metrics,
    )
    # Built within its first trace ScheduleFreeAdamW loses its copy of the weights; all others are traced twice.
    net.optimizer.build(net.trainable_variables)
    apart = bool(share) or _penalised(net)
    if apart:
        net.tell_apart(_each(names, told["loss"], lambda one: loss(one, own)), weights)
    batches = Batches(train_part, told["batch_size"], order_seed)
    watch = _Watch(batches)
    history = net.fit(
        batches,
        validation_data=Batches(validation, told["batch_size"], None),
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[watch, *_stopping(told.get("early_stopping"))],
    ).history
    test: dict[str, float] = {}
    if "test" in parts and not names and unit is None:
        test = net.evaluate(Batches(parts["test"], told["batch_size"], None), return_dict=True, verbose=0)
        test["loss"] = test.pop("data_loss", test["loss"])
    return Told(_curves(history, watch.penalties, apart=apart), watch.variables, watch.slots, before, test)


def _each(names: Sequence[str], given: Any, make: Callable[..., Any], *, named: bool = False) -> Any:
    if not names:
        return make(given)
    by_name = isinstance(given, Mapping) and set(given) <= set(names)
    return {name: make(given.get(name, []) if by_name else given, *([name] if named else [])) for name in names}


def _by_name(part: Part, outputs: Sequence[str]) -> Part:
    """y [n, k] as one column for each output, in their order."""
    x, y, *weight = part
    return (x, {name: y[:, i : i + 1] for i, name in enumerate(outputs)}, *weight)


def _unit(experiment: Tree, part: Part) -> tuple[Array, Array] | None:
    """Mean and deviation of a regression's targets, under which they are standardised."""
    data = experiment.get("data", {})
    if data.get("task") != "regression" or data.get("scale", "auto") == "none":
        return None
    y = part[1].astype(np.float64)
    return y.mean(0).astype(np.float32), y.std(0).astype(np.float32)


def _in_unit(one: Any, unit: tuple[Array, Array] | None) -> Any:
    if unit is None:
        return one
    if not isinstance(one, str):
        return InUnit(one, *unit, name=one.name)
    inner = keras.metrics.get(one)
    inner = inner if isinstance(inner, keras.metrics.Metric) else keras.metrics.MeanMetricWrapper(inner)
    return InUnit(inner, *unit, name=one)


def _penalised(net: Any) -> bool:
    """Whether a layer adds to the loss: a penalty on weights, or on what a layer gives."""
    activity = any(getattr(one, "activity_regularizer", None) is not None for one in net._flatten_layers())
    own = any(type(one).__name__ == "ActivityRegularization" for one in net._flatten_layers())
    return activity or own or any(getattr(v, "regularizer", None) is not None for v in net.trainable_variables)


def _stopping(given: Mapping[str, Any] | None) -> list[Any]:
    if not given:
        return []
    return [
        keras.callbacks.EarlyStopping(
            given.get("monitor", "val_loss"), patience=given.get("patience", 5), mode=given.get("goal", "min")[:3]
        )
    ]


def _curves(history: Mapping[str, list[Any]], penalties: list[float], *, apart: bool) -> dict[str, tuple[float, ...]]:
    """The history by hptune's names; a metric of several numbers is one curve for each."""
    told = dict(history)
    if apart:
        told["loss"], told["val_loss"] = told.pop("data_loss"), told.pop("val_data_loss")
    curves: dict[str, tuple[float, ...]] = {}
    for name, values in told.items():
        arrays = [np.asarray(value, np.float64) for value in values]
        if arrays[0].ndim == 0:
            curves[name] = tuple(float(a) for a in arrays)
        else:
            flat = np.stack([a.reshape(-1) for a in arrays], 1)
            curves |= {f"{name}.{i}": tuple(row.tolist()) for i, row in enumerate(flat)}
    if any(penalties):
        curves["penalty"] = tuple(penalties)
    return curves


# --- initial values -------------------------------------------------------------------------------------------------


class OtherVariables(Exception):
    """hptune's model does not hold what the plain one does."""


def aligned(ours: Sequence[Array], theirs: Sequence[tuple[bool, Array]]) -> list[Array]:
    """Of all that hptune's model holds, what stands for each variable of the plain one.

    A dropout of rate 0 has no seed in Keras, and may have one in hptune's model: such seeds are passed over.
    Raises OtherVariables where the two do not fit.
    """
    spare = sum(_seed_like(a) for a in ours) - sum(seed or _seed_like(a) for seed, a in theirs)
    found: list[Array] = []
    at = 0
    for number, (_, value) in enumerate(theirs):
        while at < len(ours) and spare > 0 and _seed_like(ours[at]) and not _seed_like(value):
            at, spare = at + 1, spare - 1
        if at >= len(ours) or ours[at].shape != value.shape:
            raise ValueError(
                f"variable {number} of {[a.shape for _, a in theirs]} is none of {[a.shape for a in ours]}"
            )
        found.append(ours[at])
        at += 1
    if any(not _seed_like(a) for a in ours[at:]) or len(ours) - at > spare:
        raise OtherVariables(f"hptune's model has more: {[a.shape for a in ours]} for {[a.shape for _, a in theirs]}")
    return found


def _seed_like(array: Array) -> bool:
    return array.shape == (2,) and array.dtype.kind in "iu"


def assign(net: Any, initial: Sequence[Array] | None) -> tuple[tuple[bool, Array], ...]:
    """Put the initial values in, but for seeds that the user gave; the variables as Keras had made them."""
    before = variables(net)
    if initial is None:
        return before
    given = _given_seeds(net)
    for variable, value in zip(net.variables, aligned(initial, before), strict=True):
        if id(variable) not in given:
            variable.assign(value)
    return before


def _given_seeds(net: Any) -> set[int]:
    """The states of the generators of layers that were given a seed: those are Keras's to make."""
    given = [one for one in net._flatten_layers() if getattr(one, "seed_was_given", False)]
    return {id(v) for one in given for v in one.variables if _is_seed(v)}
