"""Models that code builds: `build(hp)` functions and KerasTuner `HyperModel` classes, the user's and KerasTuner's own.

What they ask `hp` for is found before the first trial (`discovery`), and spelt as in the YAML.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from hptune.base import surroundings
from hptune.base.errors import KeyPath, SegmentFailed, spec_error
from hptune.base.quiet import quietly
from hptune.base.trial import Value, Values
from hptune.base.user_code import load_object
from hptune.experiment.space.references import NAME
from hptune.training.core.results import build_as_fit, has_own_loops, is_whole, makes_its_own_loss
from hptune.training.own.heap import Heap
from hptune.training.own.modules import forget, imported, own_modules
from hptune.training.own.needs_fit import why_by_fit
from hptune.training.own.untouched import Untouched, names_there
from hptune.training.runtime import Settings, keras, reset_names, seeded_meanwhile


class Builder:
    """A HyperModel, or anything with its `build(hp)`: `build(values)` returns the model and the `hp` it asked."""

    def __init__(
        self,
        hypermodel: Any,
        *,
        branches: bool = True,
        path: KeyPath = ("model",),
        reference: str = "",
        folder: Path | None = None,
    ) -> None:
        """branches: whether it may ask for a parameter only under some values of another.

        path: where the YAML names it. reference: `module:name` of the user's code. folder: where its modules lie.
        kept_by_code: the names through which the user's modules keep something from call to call that only a new import
        resets. prepare: called after such an import, before the code is called.
        """
        self._own = [hypermodel, *own_modules(reference, folder)] if reference else []
        self.hypermodel = hypermodel
        self.reference = reference
        self._folder = folder or Path()
        self.branches = branches
        self.path = path
        self.why_by_fit: str | None = None
        self.reports_penalties = False
        self.kept_by_code: set[str] = set()
        self.prepare: Callable[[], None] = lambda: None
        self._import_seed = 0
        self._asked: list[tuple[Any, Values]] = []
        self._late: list[ModuleType] = []
        self.floats = "float32"  # Keras's floatx as the code sets it
        self._heap: Heap | None = None
        self._kt = keras_tuner()
        self._settings = _SETTINGS.setdefault(reference, Settings.now())

    @cached_property
    def untouched(self) -> Untouched:
        """What its calls share; to be asked for before the first call."""
        return Untouched(self._own)

    @property
    def has_own_fit(self) -> bool:
        """Whether trials train by a `fit`: the HyperModel's own, or Keras's."""
        return self.hypermodel_fits or self.why_by_fit is not None

    @property
    def hypermodel_fits(self) -> bool:
        """Whether its class overrides `fit`."""
        return getattr(type(self.hypermodel), "fit", None) not in (None, _Function.fit, self._kt.HyperModel.fit)

    @property
    def fit(self) -> Any:
        """`fit(hp, model, x, y, …)`: the HyperModel's own, or KerasTuner's default, which calls `model.fit`."""
        return self.hypermodel.fit if self.hypermodel_fits else _Function(None).fit

    @property
    def call(self) -> str | None:
        """How the user's program calls it with an `hp`; None where it is not the user's."""
        if not self.reference:
            return None
        code = load_object(self.reference, self._folder, ("model", "python"))
        name = self.reference.replace(":", ".")
        if inspect.isclass(code):
            return f"{name}().build(hp)"
        return f"{name}(hp)" if isinstance(self.hypermodel, _Function) else f"{name}.build(hp)"

    def build(self, values: Values) -> tuple[Any, Any]:
        """(the model, the `HyperParameters` it asked).

        Raises SegmentFailed where the code asks for what `values` lacks: its default would be a silent guess.
        """
        hp = self.asking(values)
        model = self.build_with(hp)
        check_whole(hp, values)
        self._asked.append((hp, values))
        return model, hp

    def asked(self) -> list[tuple[Any, Values]]:
        """Whom the code of the models built since the last call may ask yet, as graphs are made of it, and the values
        that it had: for `check_whole`.
        """
        asked, self._asked = self._asked, []
        return asked

    def begin(self, x: Any, values: Values, *, seed: int) -> None:
        """Call the code once, so that what it keeps from its first call on is the same in every process.

        x: a sample, for a model that has no weights before it is called. values: the defaults of what the YAML
        declares; the code's own stand for the others. Errors of the code are passed over: it raises them again.
        Sets `why_by_fit`, why Keras's `fit` must train each model (None: it need not), and `reports_penalties`, whether
        the reported loss holds the penalties on the weights.
        """
        self._import_seed = seed
        keras().utils.set_random_seed(seed)
        with contextlib.suppress(Exception), quietly():
            model = self.build_with(self.asking(values))
            self.why_by_fit = self.needs_fit(model)
            self.reports_penalties = makes_its_own_loss(model)
            if not is_whole(model):
                build_as_fit(model, x)
                self.untouched.after(model)

    def needs_fit(self, model: Any) -> str | None:
        """Why no copy or graph can stand for the model that was built last, so that Keras's `fit` must train it; None
        where one can.
        """
        if has_own_loops(model):
            return "has a fit or loops of its own, or batches of one size"
        if (why := why_by_fit(model)) is not None:
            return why
        return "is made of code of yours in the place of Keras's" if self.untouched.patched else None

    def asking(self, values: Values) -> Any:
        """`HyperParameters` that answer with these values, and with the code's default for any other name."""
        hp = self._kt.HyperParameters()
        hp.values = dict(values)
        return hp

    def build_with(self, hp: Any) -> Any:
        """The model that the code builds with `hp`, whatever it asks for."""
        try:
            model = self._called(hp)
        except ValueError as error:
            if _NAMED_TWICE.search(str(error)) is None:
                raise
            model = self._called(hp, beside=names_there())  # a layer that outlives the calls has the name
        if not isinstance(model, keras().Model):
            code = getattr(inspect.unwrap(self.hypermodel.build), "__code__", None)
            where = f" ({Path(code.co_filename).name}:{code.co_firstlineno})" if code is not None else ""
            raise SegmentFailed(f"the builder returned {type(model).__name__}, not a keras.Model{where}")
        return self.build_with(hp) if self.untouched.after(model) else model

    def _called(self, hp: Any, beside: Iterable[str] = ()) -> Any:
        if self.kept_by_code or self._is_of_others():
            self.untouched.before_imports()
        else:
            self.untouched.before()
        self._as_imported()
        self._settings.put()
        reset_names(beside)
        with self.watched():
            made = self.hypermodel.build(hp)
        self.floats = keras().config.floatx()
        return made

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """A context for the user's code: what it imports here, the next call imports anew."""
        with surroundings.only_this_process(), imported(self._late.append):
            yield

    def _as_imported(self) -> None:
        """Import the user's modules anew where they still hold something other than at first, after all was put back.

        The HyperModel itself counts too, with what it keeps from one `fit` to the next. From then on nothing is put
        back: objects of an earlier call go on reading what that call has left.
        """
        if not self.reference:
            return
        forget(self._late)
        self._late.clear()
        if not self.kept_by_code:
            changed = self._changed()
            if changed == []:
                return
            self.kept_by_code.update(changed or ())  # None: another builder of the module has imported it anew
        self._import_anew()
        if not self.kept_by_code:
            self._changed()

    def _import_anew(self) -> None:
        """Load the modules as if they had never been loaded; nothing here keeps their old objects."""
        for module in self._own[1:]:
            _HEAPS.pop(id(module), None)
        self.untouched.forget()
        if self._is_of_others():
            forget(own_modules(self.reference, self._folder))
        forget(self._own[1:])
        reset_names()
        with seeded_meanwhile(self._import_seed):
            fresh = from_code(self.reference, self._folder)
            self.hypermodel, self._own, self._heap = fresh.hypermodel, fresh._own, None
            self.prepare()
        self.untouched = Untouched(self._own)

    def _named(self) -> Any:
        return sys.modules.get(self.reference.partition(":")[0])

    def _is_of_others(self) -> bool:
        """Whether another builder, such as another fold's, has imported the modules anew: these here are then no longer
        put back.
        """
        return bool(self.reference) and self._named() not in self._own[1:]

    def _changed(self) -> list[str] | None:
        """The names through which the modules, or the HyperModel, hold something other than at first; None: the module
        is no longer the one that is loaded.
        """
        if self._is_of_others():
            return None
        named = self._named()
        of_modules = _HEAPS.get(id(named))
        if of_modules is None:
            of_modules = _HEAPS[id(named)] = Heap(self._own[1:])
        self._heap = self._heap or Heap(self._own[:1])
        return [*of_modules.changed(), *self._heap.changed()]


_NAMED_TWICE = re.compile(r"[Nn]ame ['\"].+['\"] is (used \d+ times|already the name of a layer)")

_HEAPS: dict[int, Heap] = {}
"""By the identity of the named module: all that it and its imports held before a builder was called."""

_SETTINGS: dict[str, Settings] = {}
"""By reference: `keras.config` as the user's module left it, before anything was built."""


def check_whole(hp: Any, values: Values) -> None:
    """Raises SegmentFailed where code asked `hp` for what `values` lacks, and says how to declare it."""
    late = {p.name: p for p in hp.space if p.name not in values and hp.is_active(p) and type(p).__name__ != "Fixed"}
    if late:
        names = ", ".join(late)
        declared = flow({name: as_yaml(parameter) for name, parameter in late.items()})
        problem = f"the code asks for {names} under these values, which was not found before the first trial"
        remedy = "declare it in the YAML (which then gives it a value in every trial) and search with --fresh"
        raise SegmentFailed(f"{problem}, so it has no value here; {remedy}: search_space: {declared}")


def flow(value: Any) -> str:
    """Plain data as YAML on one line.

    >>> flow({"units 1": {"type": "choice", "values": ["a", "1", True]}})
    '{"units 1": {type: choice, values: [a, "1", true]}}'
    """
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow(name)}: {flow(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    plain = isinstance(value, str) and re.fullmatch(NAME, value) and value.lower() not in ("true", "false", "null")
    return str(value) if plain or isinstance(value, float) else json.dumps(value)


def keras_tuner() -> Any:
    """KerasTuner, imported when it is first needed."""
    keras()
    with quietly():
        import keras_tuner
    return keras_tuner


def from_code(reference: str, folder: Path) -> Builder:
    """The builder of the user's code. Raises SpecError where it names neither a function nor a HyperModel."""
    path = ("model", "python")
    code = load_object(reference, folder, path)
    hypermodel = keras_tuner().HyperModel
    if inspect.isclass(code) and issubclass(code, hypermodel):
        return Builder(code(), path=path, reference=reference, folder=folder)
    if isinstance(code, hypermodel):
        return Builder(code, path=path, reference=reference, folder=folder)
    if callable(code):
        return Builder(_Function(code), path=path, reference=reference, folder=folder)
    problem = f"{reference} is neither a build(hp) function nor a keras_tuner.HyperModel. Name one of these."
    raise spec_error(problem, *path)


@dataclass(frozen=True, slots=True)
class _Function:
    """A `build(hp)` function in place of a HyperModel."""

    build: Any

    @staticmethod
    def fit(_: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        return model.fit(*args, **kwargs)


def as_yaml(parameter: Any) -> dict[str, Any]:
    """A KerasTuner parameter as the YAML would spell it: {"type": …, …, "default": …}.

    A default that is not among its values, which KerasTuner allows but never tries, becomes the nearest of them.
    """
    kind = type(parameter).__name__
    if kind in ("Boolean", "Choice"):
        return {"type": "choice", "values": list(parameter.values), "default": parameter.default}
    number = int if kind == "Int" else float
    if parameter.sampling != "linear" and parameter.step is not None:  # a step on a log scale multiplies
        return _listed([number(value) for value in parameter.values], number(parameter.default))
    low, high = number(parameter.min_value), number(parameter.max_value)
    domain: dict[str, Any] = {"type": "int" if kind == "Int" else "float", "min": low, "max": high}
    if parameter.sampling != "linear":
        domain["log"] = "reverse" if parameter.sampling == "reverse_log" else True
    elif parameter.step is not None and (kind == "Float" or parameter.step != 1):
        domain["step"] = number(parameter.step)
    default, step = min(max(number(parameter.default), low), high), domain.get("step", 1 if kind == "Int" else None)
    if step is not None and "log" not in domain:
        steps = min(round((default - low) / step), int((high - low) / step + 1e-9))
        on_grid = low + steps * step
        default = default if math.isclose(default, on_grid, rel_tol=1e-9, abs_tol=1e-12) else number(on_grid)
    return {**domain, "default": default}


def _listed(values: list[Value], default: Value) -> dict[str, Any]:
    """A choice of numbers, each once."""
    distinct = list(dict.fromkeys(values))
    return {"type": "choice", "values": distinct, "default": min(distinct, key=lambda v: abs(v - default))}  # type: ignore[operator]  # numbers
