"""What is kept between an experiment's trials: compiled programs by structure, initial weights by architecture."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from hptune.base import files, seeds
from hptune.base.errors import Problem, SegmentFailed, SpecError
from hptune.base.rows import load_row
from hptune.base.stopwatch import counts
from hptune.base.trial import Values
from hptune.experiment.data import Augment
from hptune.experiment.experiment import Experiment
from hptune.experiment.model import ModelSpec
from hptune.experiment.recipe import Recipe, resolve
from hptune.experiment.space.space import Space
from hptune.experiment.training import Stabilize
from hptune.run.rundir import RunPaths
from hptune.training.core import state as states
from hptune.training.core.batches import mapped
from hptune.training.core.losses import standardized
from hptune.training.core.program import Program
from hptune.training.core.results import build_as_fit, has_call, has_own_steps, is_whole, packed, reported_by
from hptune.training.core.several_outputs import check_outputs, columns_of, each_standardized, splitter
from hptune.training.core.state import State
from hptune.training.data import Data
from hptune.training.export.export import behind, in_own_unit
from hptune.training.models import augment
from hptune.training.models.blueprint import SMOOTHING, Blueprint, Weights, fingerprint
from hptune.training.models.from_layers import of_layers
from hptune.training.models.from_model import Outlives, of_model
from hptune.training.models.hypermodel import Builder, check_whole
from hptune.training.own.guard import apart
from hptune.training.runtime import keras, reset_names
from hptune.training.trainers.last_layer import check_last_layer, range_note
from hptune.training.trainers.stabilize import recipe_for, stabilize

KEPT = 8
"""How many compiled programs stay in memory; the least recently used is dropped first."""

WEIGHTS = 32
"""How many sets of initial weights stay in memory; others are drawn again, the same by their seed."""

DESCRIBED = 4
"""How many models built only to be described are kept."""


MODELS = "hptune.training.models"
"""The package in which a model kind's maker is looked up."""


class Programs:
    """Makes blueprints, programs and initial weights, and keeps what the next trial may need.

    builder: the user's code, where the model comes from code. folds: how many objects like this one share the memory,
    each with the programs of its own fold. news: facts for the journal since they were last taken.
    """

    def __init__(
        self,
        experiment: Experiment,
        data: Data,
        *,
        builder: Builder | None,
        run: RunPaths,
        folder: Path = Path(),
        folds: int = 1,
    ) -> None:
        self._experiment = experiment
        self._data = data
        self._builder = builder
        self._run = run
        self._folder = folder
        self._described: OrderedDict[str, Any] = OrderedDict()
        self._kept = KEPT if folds == 1 else max(2, KEPT // folds)
        self._programs: OrderedDict[str, Program] = OrderedDict()
        self._weights: OrderedDict[tuple[str, int], Weights] = OrderedDict()
        self.news: dict[str, Any] = {}
        self._asked: WeakKeyDictionary[Program, list[tuple[Any, Values]]] = WeakKeyDictionary()

    @counts("build")
    def blueprint(self, recipe: Recipe, values: Values) -> Blueprint:
        """The blueprint of the recipe's model. A model from code is built for it; any other follows from the recipe."""
        builder = self._builder
        if builder is not None:
            named = frozenset({"optimizer", "loss", "metrics"} & recipe.training.model_fields_set)
            draw = partial(self._build_by_code, builder, values)

            def rebuild() -> Any:
                keras().utils.set_random_seed(seeds.derive(self._experiment.seed, "build"))
                return draw()

            bare = of_model(
                rebuild(),
                recipe,
                named=named,
                rebuild=rebuild,
                draw=draw,
                tag=dict(values),
                folder=self._folder,
                shared=builder.untouched,
                guarded=True,
            )
        elif recipe.model is not None:
            bare = self._of_built(recipe, recipe.model)
        else:
            x, precision = self._data.train.x, self._experiment.execution.precision
            bare = of_layers(recipe, x.shape[1:], input_dtype=x.dtype.name, precision=precision, folder=self._folder)
        return bare if recipe.augment is None else self._augmented(bare, recipe.augment)

    def _of_built(self, recipe: Recipe, spec: ModelSpec) -> Blueprint:
        """The blueprint of a model that its section describes in full; one built model of each section is kept."""
        key = spec.model_dump_json()
        rebuild = partial(self._build, spec)
        if key not in self._described:
            while len(self._described) >= DESCRIBED:
                self._described.popitem(last=False)
            self._described[key] = rebuild()
        named = frozenset({"optimizer", "loss", "metrics"})
        model = self._described[key]
        return of_model(model, recipe, named=named, rebuild=rebuild, tag=key, folder=self._folder)

    def _build(self, spec: ModelSpec) -> Any:
        reset_names()
        return load_row(MODELS, spec.maker)(spec, self._data, self._folder)

    def _augmented(self, bare: Blueprint, options: Augment) -> Blueprint:
        flip, strong = augment.flips(options), augment.strengths(options)
        return replace(
            bare,
            structure=fingerprint(bare.structure, flip, list(strong)),
            dials={**bare.dials, **strong},
            front=lambda: augment.layers(flip, strong, self._data),
            exports_front=options.export,
        )

    def drawn(self, recipe: Recipe, values: Values) -> Blueprint:
        """The blueprint of a point, one whose model can be built, to be checked."""
        blueprint = self.blueprint(recipe, values)
        try:
            if blueprint.own is not None:
                blueprint.build()
        except Outlives:
            return self._alone(blueprint)
        return blueprint

    def serving(self, recipe: Recipe, values: Values) -> tuple[Blueprint, Program]:
        """The blueprint of a point, and a program shown to compute the same as the point's own model.

        Where no program was shown to, the point gets one of its own.
        """
        blueprint = self.blueprint(recipe, values)
        try:
            program = self.program(blueprint)
        except Outlives:
            blueprint = self._alone(blueprint)
            return blueprint, self.program(blueprint)
        if blueprint.own is None or blueprint.made_by in program.serves:
            return blueprint, program
        if (difference := apart(blueprint, program, self._data)) is not None:
            note = "these values have a program of their own: the shared one gives"
            self.news["not_shared"] = f"{note} {difference} than the model that the code builds"
            blueprint = self._alone(blueprint)
            return blueprint, self.program(blueprint)
        program.serves.add(blueprint.made_by)
        return blueprint, program

    def _alone(self, blueprint: Blueprint) -> Blueprint:
        assert blueprint.alone is not None
        return blueprint.alone()

    def program(self, blueprint: Blueprint) -> Program:
        """The program of the blueprint's structure."""
        key = blueprint.structure
        if key in self._programs:
            self._programs.move_to_end(key)
            return self._programs[key]
        while len(self._programs) >= self._kept:
            self._programs.popitem(last=False)
        self._programs[key] = self.compile(blueprint, xla=self._experiment.execution.xla)
        return self._programs[key]

    @counts("build")
    def weights(self, blueprint: Blueprint, recipe: Recipe, *, values: Values, replica: int) -> Weights:
        """The initial weights of a trial, by (seed, architecture, replica); stabilised if the recipe asks for it."""
        options = recipe.initialization.stabilize
        if options is not None:
            draws = self.blueprint(recipe_for(recipe, options, self._defaults), values)
            return self._stabilized(options, draws, replica)
        seed = seeds.derive(self._experiment.seed, "weights", blueprint.architecture, replica)
        key = (blueprint.architecture + blueprint.made_by, replica)
        return self._kept_weights(key) or self._keep_weights(key, blueprint.weights(seed))

    def _kept_weights(self, key: tuple[str, int]) -> Weights | None:
        if key in self._weights:
            self._weights.move_to_end(key)
        return self._weights.get(key)

    def _keep_weights(self, key: tuple[str, int], weights: Weights) -> Weights:
        while len(self._weights) >= WEIGHTS:
            self._weights.popitem(last=False)
        self._weights[key] = weights
        return weights

    @cached_property
    def _defaults(self) -> Recipe:
        """The recipe at the default values of the search space."""
        return resolve(self._experiment, Space(self._experiment.search_space).defaults())

    @property
    def restores_targets(self) -> bool:
        """Whether the loss sees standardised targets, and a last layer brings predictions back to the target's unit.

        Not for a model that the user's code compiled, or that was trained before: those expect the targets as they are.
        """
        return self._data.target_scale is not None and not self._experiment.model.as_it_is

    def _build_by_code(self, builder: Builder, values: Values) -> Any:
        model, _ = builder.build(values)
        if (why := builder.needs_fit(model)) is not None:
            raise NeedsFit(f"the model that the code builds {why} under these values, and not by default")
        if is_whole(model):
            return model
        if has_own_steps(model) and model.compiled:  # a step may use layers that `call` does not, and make state
            train = self._data.train
            batch = mapped(lambda a: a[:2], (train.x, train.y, train.sample_weight))
            reported_by(model.train_step, packed(batch))
        if not is_whole(model) and (has_call(model) or not has_own_steps(model)):
            build_as_fit(model, self._data.train.x[:1])  # no input shape was given: the first sample has one
        builder.untouched.after(model)
        return model

    @counts("build")
    def compile(self, blueprint: Blueprint, *, xla: bool) -> Program:
        """Compile a new program, which is not kept."""
        # Names, and random numbers while building, are as in a process of its own.
        reset_names()
        keras().utils.set_random_seed(seeds.derive(self._experiment.seed, "program"))
        data, loss = self._data, blueprint.compiled.loss()
        front = blueprint.front()
        columns = columns_of(blueprint.outputs, data)
        if self.restores_targets:
            assert data.target_scale is not None
            loss = each_standardized(loss, data, columns) if columns else standardized(loss, *data.target_scale)

        def around(model: Any) -> Any:
            check_outputs(model, columns)
            if self._builder is None:
                seen = data if self.restores_targets else replace(data, target_scale=None)
                _check_last(model, blueprint, data=seen, columns=columns)
                if (note := range_note(model, seen, columns=columns)) is not None:
                    self.news["note"] = note
            if has_own_steps(model):
                _check_steps(blueprint, front, xla=xla)
            return behind(front, in_own_unit(model, data, columns) if self.restores_targets else model, data)

        dials = augment.attach(front)
        program = Program(
            blueprint,
            data.train,
            data.validation,
            loss=loss,
            around=around,
            dials=dials,
            split=splitter(columns),
            xla=xla,
        )
        if self._builder is not None:
            self._asked[program] = self._builder.asked()
            self.check_asked(program)
        return program

    def check_asked(self, program: Program) -> None:
        """Raises SegmentFailed where the model's code has asked for a parameter since, as a graph was made of it."""
        others = self._builder.asked() if self._builder is not None else []
        for hp, values in [*self._asked.get(program, ()), *others]:
            check_whole(hp, values)

    def _stabilized(self, options: Stabilize, draws: Blueprint, replica: int) -> Weights:
        """The run's stabilised weights of these draws; made here where the run doesn't have them (any more)."""
        made_by = fingerprint(draws.architecture, draws.made_by, draws.structure, draws.batch_size)
        key = (made_by, replica)
        if (kept := self._kept_weights(key)) is not None:
            return kept
        path = self._run.stabilized(made_by, replica)
        if files.is_file(path, below=self._run.runs):
            with contextlib.suppress(states.Damaged):  # then they are made again, the same by their seed
                return self._keep_weights(key, states.load(path, below=self._run.runs)[0].model)
        seed = seeds.derive(self._experiment.seed, "stabilize", draws.architecture, replica)
        stabilized = stabilize(options, self.program(draws), draws, seed=seed)
        states.save(path, State(tuple(stabilized.weights)), {}, below=self._run.runs)
        self.news["stabilized"] = {
            "structure": made_by,
            "replica": replica,
            "method": options.method,
            "losses": list(stabilized.losses),
            "chosen": stabilized.chosen,
        }
        return self._keep_weights(key, stabilized.weights)


class NeedsFit(SegmentFailed):
    """No program can train the model of these values: Keras's own `fit` must."""


def _check_last(model: Any, blueprint: Blueprint, *, data: Data, columns: Mapping[str, int]) -> None:
    """Check a point's last layer as the first point's is checked before the search. Raises SegmentFailed."""
    try:
        check_last_layer(model, blueprint.compiled.loss(), data=data, path=(), columns=columns)
    except SpecError as error:
        raise SegmentFailed("; ".join(one.message for one in error.problems)) from error


def _check_steps(blueprint: Blueprint, front: Sequence[Any], *, xla: bool) -> None:
    """Raises SpecError for options that have no effect on a model that trains by a step of its own."""
    own = "and the model trains by a train_step of its own"
    refused = {
        ("execution", "xla"): (xla, f"compiles a step of Keras's, {own}. Drop it."),
        ("data", "augment"): (bool(front), f"stands before the model, {own}. Put the layers into it, in its code."),
        ("training", "regularization", "label_smoothing"): (
            SMOOTHING in blueprint.dials,
            f"changes Keras's loss, {own}. Smooth the labels there.",
        ),
    }
    problems = [Problem(problem, path) for path, (stands, problem) in refused.items() if stands]
    if problems:
        raise SpecError(*problems)
