"""One call of a HyperModel's own `fit`: the keywords that it is given, and what of them reaches Keras.

As KerasTuner does, it calls `fit(hp, model, x, y, validation_data=…, epochs=…, callbacks=…)`. A keyword that the `fit`
doesn't take, or that its code gives to `model.fit` itself (`epochs=hp.Int(…)`), is left out.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hptune.base.errors import SegmentFailed
from hptune.experiment.data import DataSpec
from hptune.experiment.recipe import Recipe
from hptune.experiment.space.references import concrete
from hptune.training.data import Data, Part
from hptune.training.runtime import keras

_ITS_OWN = re.compile(r"(?:multiple values for (?:keyword )?argument|unexpected keyword argument) '(\w+)'")
"""What Python says of a keyword that is given twice, or that a function doesn't take."""

PAIR_AFTER_TRAINING = (
    "the HyperModel's fit takes validation_data apart as (x, y) after training, and these samples are weighted: it is "
    "(x, y, weights). Write x, y, *_ = validation_data in it"
)

_PAIR_WANTED = re.compile(r"too many values to unpack|unpack.*expected 2")


@dataclass(slots=True)
class FitCalls:
    """What reached `model.fit`, call by call, by the names of its arguments."""

    calls: list[dict[str, Any]] = field(default_factory=list)

    def reached(self, name: str) -> bool:
        """Whether an argument was given in every call."""
        return bool(self.calls) and all(call.get(name) is not None for call in self.calls)


@contextlib.contextmanager
def watched(
    model: Any, seen: FitCalls, train: Callable[[Any, dict[str, Any]], Any] | None = None, *, listener: Any = None
) -> Iterator[None]:
    """Record in `seen` what reaches `model.fit`. train: called in its place, with Keras's fit and its arguments.

    listener: a callback that hears of each epoch, even where the user's `fit` passes only callbacks of its own.
    """
    fit = model.fit

    def watch(*args: Any, **kwargs: Any) -> Any:
        if listener is not None:
            args, kwargs = _heard(listener, inspect.signature(fit), args=args, kwargs=kwargs)
        try:
            arguments = _by_name(inspect.signature(fit), args, kwargs)
        except TypeError:  # Keras says better what is wrong
            return fit(*args, **kwargs)
        seen.calls.append(arguments)
        return fit(*args, **kwargs) if train is None else train(fit, arguments)

    object.__setattr__(model, "fit", watch)  # Keras would track it
    try:
        yield
    finally:
        object.__delattr__(model, "fit")


def _heard(
    listener: Any, signature: inspect.Signature, *, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with the listener among the callbacks; unchanged where it is there, or can't be put there."""
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return args, kwargs
    known = "callbacks" in signature.parameters
    held = bound.arguments if known else kwargs
    callbacks = held.get("callbacks")
    if callbacks is not None and not isinstance(callbacks, list | tuple):
        callbacks = getattr(callbacks, "callbacks", [callbacks])  # a CallbackList, or one callback
    if any(type(one) is type(listener) for one in callbacks or ()):
        return args, kwargs
    if not known:
        return args, {**kwargs, "callbacks": [listener, *(callbacks or ())]}
    bound.arguments["callbacks"] = [listener, *(callbacks or ())]
    return bound.args, bound.kwargs


def _by_name(signature: inspect.Signature, args: Any, kwargs: Any) -> dict[str, Any]:
    """The arguments by name. Raises TypeError where they don't fit the signature."""
    arguments = dict(signature.bind(*args, **kwargs).arguments)
    every = list(signature.parameters.values())
    first = [parameter.name for parameter in every if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    for parameter in every:
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            arguments |= arguments.pop(parameter.name, {})
        elif parameter.kind is inspect.Parameter.VAR_POSITIONAL:  # those of Keras's own `fit`
            names = [name for name in inspect.signature(keras().Model.fit).parameters if name not in ("self", *first)]
            arguments |= dict(zip(names, arguments.pop(parameter.name, ()), strict=False))
    return arguments


def call(
    fit: Callable[..., Any], hp: Any, *, model: Any, part: Part, keywords: dict[str, Any], begun: Callable[[], bool]
) -> Any:
    """Call the `fit`; returns its result. A keyword that it gives itself is dropped from `keywords`, and it is called
    again.

    begun: whether anything was trained; an error after that is raised.
    """
    samples = (part.x,) if part.flow is not None else (part.x, part.y)
    while True:
        try:
            return fit(hp, model, *samples, **keywords)
        except TypeError as error:
            match = _ITS_OWN.search(str(error))
            if begun() or match is None or match[1] not in keywords:
                raise
            del keywords[match[1]]
        except ValueError as error:
            triple = _is_weighted(keywords.get("validation_data"))
            if not triple or _PAIR_WANTED.search(str(error)) is None:
                raise
            if begun():
                raise SegmentFailed(PAIR_AFTER_TRAINING) from error
            keywords["validation_data"] = keywords["validation_data"][:2]


def keywords(
    fit: Callable[..., Any], data: Data, *, spec: DataSpec | None, recipe: Recipe, **more: Any
) -> tuple[dict[str, Any], list[str]]:
    """(the keywords for the `fit` beside x and y, the names of those that it doesn't take).

    They are the batch size where the YAML gives one, the weights of the samples, and `more`.
    """
    arguments: dict[str, Any] = {"validation_data": _samples(data.validation), **more}
    if "batch_size" in recipe.training.model_fields_set and data.train.flow is None:
        arguments["batch_size"] = concrete(recipe.training.batch_size)
    weights = data.train.sample_weight
    if weights is not None and data.train.flow is None:  # a data set's elements hold their own
        by_class = _by_class(data.train) if getattr(spec, "class_weight", None) is not None else None
        if by_class is not None and takes(fit, "class_weight"):
            arguments["class_weight"] = by_class
        else:
            arguments["sample_weight"] = weights
    refused = [name for name in arguments if not takes(fit, name)]
    return {name: value for name, value in arguments.items() if name not in refused}, refused


def takes(fit: Callable[..., Any], name: str) -> bool:
    """Whether a function takes this keyword, by name or by `**kwargs`."""
    parameters = inspect.signature(fit).parameters.values()
    return names(fit, name) or any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)


def names(fit: Callable[..., Any], name: str) -> bool:
    """Whether a function has a parameter of this name."""
    parameter = inspect.signature(fit).parameters.get(name)
    return parameter is not None and parameter.kind in (
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    )


def opened(part: Part, seed: int, recipe: Recipe) -> Part:
    """The part as a `fit` takes it: a function's data set is passed on, batched anew where the YAML gives a size."""
    if part.flow is None:
        return part
    sized = "batch_size" in recipe.training.model_fields_set
    size = concrete(recipe.training.batch_size) if sized else None
    return replace(part, x=part.flow.for_fit(seed, batch_size=size))


def first(part: Part, rows: int) -> Part:
    """The part's first samples."""
    if part.flow is not None:
        return replace(part, x=part.flow.for_fit(0, rows=rows))
    weights = part.sample_weight
    return Part(part.x[:rows], part.y[:rows], None if weights is None else weights[:rows])


def as_given(seen: FitCalls, part: Part) -> bool:
    """Whether every `model.fit` got the part's own samples unchanged, all or some of them."""
    pairs = [(call.get("x"), call.get("y")) for call in seen.calls]
    if part.flow is not None:
        return bool(pairs) and all(x is part.x for x, _ in pairs)
    if not pairs or all(x is part.x and y is part.y for x, y in pairs):
        return bool(pairs)
    ours = [part.x, part.y]
    for pair in pairs:
        if not all(isinstance(a, np.ndarray) and a.dtype == b.dtype for a, b in zip(pair, ours, strict=True)):
            return False
    known = set(_rows(part.x, part.y))
    return all(row in known for x, y in pairs for row in _rows(x, y))


def _rows(x: Any, y: Any) -> Iterator[bytes]:
    """A digest of each sample with its target."""
    return (hashlib.blake2b(a.tobytes() + b.tobytes(), digest_size=16).digest() for a, b in zip(x, y, strict=False))


def _is_weighted(samples: Any) -> bool:
    return isinstance(samples, tuple) and len(samples) == 3


def _samples(part: Part) -> Any:
    if part.flow is not None:
        return part.x
    return (part.x, part.y) if part.sample_weight is None else (part.x, part.y, part.sample_weight)


def _by_class(part: Part) -> dict[int, float] | None:
    """The weight of each class, as Keras takes them; None where samples of one class have different weights."""
    rows = part.y.reshape(len(part.y), -1)
    codes = np.argmax(rows, axis=-1) if rows.shape[1] > 1 else rows[:, 0].astype(np.int64)
    weight_of: dict[int, float] = {}
    assert part.sample_weight is not None, "asked for the weights of samples that all count alike"
    for code in np.unique(codes):
        weights = part.sample_weight[codes == code]
        if np.any(weights != weights[0]):
            return None
        weight_of[int(code)] = float(weights[0])
    return weight_of
