"""scikit-learn estimators made from the YAML, and what can be known of them before the first is fitted."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from hptune.base.errors import Problem, SpecError, unknown
from hptune.base.user_code import load_object
from hptune.experiment.estimators import EstimatorCall, call, calls
from hptune.experiment.model import SklearnModel

Estimator: TypeAlias = Any
"""Whatever has scikit-learn's `fit` and `predict`."""


def build(model: SklearnModel, folder: Path) -> Estimator:
    """The estimator, or the pipeline, that a model without references names; not fitted."""
    made = [_make(one, folder) for one in calls(model)]
    if isinstance(model.sklearn, str):
        return made[0]
    from sklearn.pipeline import make_pipeline

    return make_pipeline(*made)


def seeded(estimator: Estimator, seed_of: Callable[[str], int]) -> Estimator:
    """The estimator with every `random_state` that was left open set to `seed_of` its name, `step__…` included."""
    free = [
        name
        for name, value in estimator.get_params(deep=True).items()
        if name.rsplit("__", 1)[-1] == "random_state" and value is None
    ]
    return estimator.set_params(**{name: seed_of(name) for name in free})


def weights_keyword(estimator: Estimator) -> str | None:
    """The keyword under which `fit` takes sample weights; None where the (last) estimator takes none."""
    from sklearn.pipeline import Pipeline

    last = estimator.steps[-1] if isinstance(estimator, Pipeline) else None
    fitted = last[1] if last is not None else estimator
    if not _takes_weights(fitted) and not _takes_any_keyword(fitted):
        return None
    return f"{last[0]}__sample_weight" if last is not None else "sample_weight"


def steps_without_weights(estimator: Estimator) -> list[str]:
    """The steps of a pipeline that could use sample weights but get none: scikit-learn gives them to the last alone."""
    from sklearn.pipeline import Pipeline

    before = estimator.steps[:-1] if isinstance(estimator, Pipeline) else ()
    return [type(step).__name__ for _, step in before if _takes_weights(step)]


def _takes_weights(estimator: Estimator) -> bool:
    """Whether its `fit` takes sample weights, or hands them to one that does, as `TransformedTargetRegressor` does."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.utils.validation import has_fit_parameter

    if isinstance(estimator, TransformedTargetRegressor):
        return estimator.regressor is None or _takes_weights(estimator.regressor)
    return bool(has_fit_parameter(estimator, "sample_weight"))


def _takes_any_keyword(estimator: Estimator) -> bool:
    """Whether its `fit` hands keywords on, as `VotingClassifier` does, which raises itself where it can't."""
    return any(one.kind is one.VAR_KEYWORD for one in inspect.signature(estimator.fit).parameters.values())


def check_values(estimator: Estimator) -> None:
    """Check that every parameter has an allowed value. Raises ValueError, as `fit` would, before anything is fitted.

    Only for estimators that declare their allowed values: all of scikit-learn's own.
    """
    steps = getattr(estimator, "steps", None)
    for one in [step for _, step in steps] if steps else [estimator]:
        if hasattr(one, "_parameter_constraints"):  # private, but what `fit` itself looks at since scikit-learn 1.2
            one._validate_params()


def check(model: SklearnModel, folder: Path) -> None:
    """Check that each name is an estimator's, and that it takes its parameters. Raises SpecError with all problems."""
    problems: list[Problem] = []
    steps = calls(model)
    for one in steps:
        last = one is steps[-1]
        problems += _faults(one, folder, needs="predict" if last else "transform")
    if problems:
        raise SpecError(*problems)


def _faults(step: EstimatorCall, folder: Path, *, needs: str | None) -> Iterator[Problem]:
    """needs: the method that its place asks for beside `fit`; None where any estimator will do."""
    made = load_object(step.reference, folder, step.place)
    name = step.reference.rpartition(":")[2]
    if not inspect.isclass(made) or not callable(getattr(made, "get_params", None)):
        problem = f"{step.reference} is no scikit-learn estimator (a class with fit and get_params). Name one."
        yield Problem(problem, step.place)
        return
    if needs is not None and not hasattr(made, needs):
        role = "the last step must predict" if needs == "predict" else "every step but the last must transform"
        yield Problem(f"{name} has no {needs}, and {role}. Name another.", step.place)
        return
    known = inspect.signature(made).parameters
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values())
    for key, value in step.params.items():
        if key not in known and not takes_any:
            yield Problem(unknown(f"parameter of {name}", key, known, show=30), (*step.at, key), on_key=True)
        if isinstance(value, Mapping) and (inner := call(value, (*step.at, key))) is not None:
            yield from _faults(inner, folder, needs=None)


def _make(step: EstimatorCall, folder: Path) -> Estimator:
    params: dict[str, Any] = {}
    for key, value in step.params.items():
        inner = call(value, (*step.at, key)) if isinstance(value, Mapping) else None
        params[key] = value if inner is None else _make(inner, folder)
    return load_object(step.reference, folder, step.place)(**params)
