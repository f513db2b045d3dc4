"""A recipe holds plain values alone; and the experiment's way to JSON data and back is exact."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hptune.base.errors import SegmentFailed, SpecError
from hptune.experiment.data import Augment
from hptune.experiment.experiment import Experiment
from hptune.experiment.graph import LayerCall
from hptune.experiment.reading.assemble import assemble
from hptune.experiment.reading.load import from_json, to_json
from hptune.experiment.recipe import full_epochs, resolve
from hptune.experiment.space.references import Ref, bind, spell, uses
from hptune.experiment.space.space import Space
from hptune.experiment.training import Initialization, KernelPenalty, Lottery, Regularization, Schedule

TREE: dict[str, Any] = {
    "version": 1,
    "name": "a",
    "data": {"source": "digits"},
    "model": {
        "layers": [
            {"repeat": {"times": "$depth", "layers": [{"Dense": {"units": "$units", "activation": "$act"}}, "ReLU"]}},
            {"Dense": {"units": 10, "name": "$$out", "kernel_regularizer": {"L2": {"l2": "$l2"}}}},
        ]
    },
    "search_space": {
        "depth": {"type": "int", "min": 0, "max": 3},
        "units": {"type": "choice", "values": [8, 16]},
        "act": {"type": "choice", "values": ["relu", "tanh"]},
        "l2": {"type": "float", "min": 0.0, "max": 0.1},
        "optimizer": {"type": "choice", "values": ["adam", "sgd"]},
        "momentum": {"type": "float", "min": 0.0, "max": 0.9, "when": {"optimizer": "sgd"}},
        "batch": {"type": "choice", "values": [32.0, 64.0]},
        "epochs": {"type": "int", "min": 5, "max": 9},
        "patience": {"type": "int", "min": 1, "max": 4},
        "warm": {"type": "float", "min": 0.5, "max": 2.0},
    },
    "training": {
        "optimizer": {"name": "$optimizer", "momentum": "$momentum"},
        "loss": {"SparseCategoricalCrossentropy": {"from_logits": True}},
        "batch_size": "$batch",
        "epochs": "$epochs",
        "early_stopping": {"patience": "$patience"},
    },
    "schedule": {"name": "cosine", "warmup": {"epochs": "$warm"}},
}


def made(tree: dict[str, Any]) -> Experiment:
    experiment, problems = assemble(tree)
    assert experiment is not None, [str(problem) for problem in problems]
    return experiment


VALUES: dict[str, Any] = {
    **{"depth": 2, "units": 8, "act": "tanh", "l2": 0.05, "optimizer": "sgd", "momentum": 0.5},
    **{"batch": 32.0, "epochs": 7, "patience": 3, "warm": 1.5},
}


def test_repeats_are_expanded_and_names_replaced() -> None:
    recipe = resolve(made(TREE), VALUES)
    dense, relu = LayerCall("Dense", {"units": 8, "activation": "tanh"}), LayerCall("ReLU", {})
    last = LayerCall("Dense", {"units": 10, "name": "$out", "kernel_regularizer": {"L2": {"l2": 0.05}}})
    assert recipe.layers == (dense, relu, dense, relu, last)
    assert recipe.training.batch_size == 32
    assert type(recipe.training.batch_size) is int
    assert recipe.training.early_stopping is not None
    assert recipe.training.early_stopping.patience == 3
    assert recipe.schedule.warmup is not None
    assert recipe.schedule.warmup.epochs == 1.5
    assert recipe.training.loss == {"SparseCategoricalCrossentropy": {"from_logits": True}}
    assert recipe.training.optimizer.model_extra == {"momentum": 0.5}
    assert resolve(made(TREE), {**VALUES, "depth": 0}).layers == (last,)


def test_an_inactive_name_drops_its_key() -> None:
    values = {name: value for name, value in VALUES.items() if name not in ("momentum", "act", "patience")}
    recipe = resolve(made(TREE), {**values, "optimizer": "adam"})
    assert recipe.training.optimizer.model_extra == {}
    assert recipe.layers[0] == LayerCall("Dense", {"units": 8})
    assert recipe.training.early_stopping is not None
    assert recipe.training.early_stopping.patience == 5


def test_an_inactive_name_elsewhere_fails_the_segment() -> None:
    experiment = Experiment.model_validate(
        {"version": 1, "name": "a", "data": {"source": "iris"}, "model": {"layers": [Ref("layer")]}}
    )
    with pytest.raises(SegmentFailed, match=r"model\.layers\[0\]: \$layer is inactive"):
        resolve(experiment, {})
    assert resolve(experiment, {"layer": "Flatten"}).layers == (LayerCall("Flatten", {}),)


def test_values_that_do_not_fit_fail_the_segment() -> None:
    with pytest.raises(SegmentFailed, match="batch_size"):
        resolve(made(TREE), {**VALUES, "batch": -1})
    with pytest.raises(SegmentFailed, match=r"repeat\.times"):
        resolve(made(TREE), {**VALUES, "depth": 1.5})


def test_a_section_without_names_is_handed_on_as_it_is() -> None:
    experiment = made(TREE)
    assert resolve(experiment, VALUES).initialization is experiment.initialization


def test_the_whole_recipe_becomes_plain_numbers() -> None:
    space = {
        "units": {"type": "choice", "values": [8]},
        "share": {"type": "float", "min": 0.0, "max": 0.5},
        "fall": {"type": "float", "min": 0.1, "max": 0.5},
        "init": {"type": "choice", "values": ["he_normal", "orthogonal"]},
    }
    tree = {
        "version": 1,
        "name": "a",
        "data": {"source": "digits", "augment": {"flip": "both", "translate": "$share"}},
        "model": {"layers": [{"Dense": {"units": "$units"}}]},
        "search_space": space,
        "training": {"regularization": {"kernel": {"l2": "$share"}, "label_smoothing": "$share"}},
        "initialization": {"kernel": "$init", "stabilize": {"method": "lottery", "draws": 3}},
        "schedule": {"name": "plateau", "factor": "$fall", "warmup": {"epochs": 1, "start": "$share"}},
    }
    recipe = resolve(made(tree), {"units": 8, "share": 0.25, "fall": 0.5, "init": "orthogonal"})
    assert recipe.augment == Augment(flip="both", translate=0.25)
    assert recipe.training.regularization == Regularization(kernel=KernelPenalty(l2=0.25), label_smoothing=0.25)
    assert recipe.initialization == Initialization(kernel="orthogonal", stabilize=Lottery(method="lottery", draws=3))
    assert recipe.schedule == Schedule.model_validate(
        {"name": "plateau", "factor": 0.5, "warmup": {"epochs": 1.0, "start": 0.25}}
    )
    assert not list(uses([recipe.schedule.model_dump(), recipe.training.model_dump()]))


@pytest.mark.parametrize("plan", ["constant", "piecewise", "plateau"])
def test_a_searched_schedule_has_its_own_options_and_defaults(plan: str) -> None:
    tree = {
        "version": 1,
        "name": "a",
        "data": {"source": "digits"},
        "model": {"layers": [{"Dense": {"units": 10}}]},
        "search_space": {
            "plan": {"type": "choice", "values": ["constant", "plateau"]},
            "fall": {"type": "float", "min": 0.1, "max": 0.5, "when": {"plan": "plateau"}},
            "late": {"type": "int", "min": 5, "max": 9},
        },
        "schedule": {"name": "$plan", "factor": "$fall"},
    }
    if plan == "piecewise":
        tree["schedule"] = {"name": "piecewise", "epochs": [3, "$late"], "factors": [0.5, 0.1]}
        tree["search_space"] = {"late": {"type": "int", "min": 5, "max": 9}}
    else:
        del tree["search_space"]["late"]  # type: ignore[attr-defined]
    values: dict[str, dict[str, Any]] = {
        "piecewise": {"late": 7},
        "plateau": {"plan": "plateau", "fall": 0.5},
        "constant": {"plan": "constant"},
    }
    found = resolve(made(tree), values[plan]).schedule.model_dump(exclude_none=True)
    assert (
        found
        == {
            "constant": {"name": "constant"},
            "piecewise": {"name": "piecewise", "epochs": [3.0, 7.0], "factors": [0.5, 0.1]},
            "plateau": {
                **{"name": "plateau", "factor": 0.5, "patience": 3, "min": 0.0},
                **{"monitor": "val_loss", "goal": "minimize"},
            },
        }[plan]
    )


def test_full_epochs() -> None:
    assert full_epochs(made(TREE), VALUES) == 7
    assert (
        full_epochs(
            made(
                {
                    **TREE,
                    "strategy": {"name": "hyperband", "max_epochs": 5},
                    "schedule": {},
                    "training": {**TREE["training"], "loss": None},
                    "search_space": {k: v for k, v in TREE["search_space"].items() if k != "warm"},
                }
            ),
            VALUES,
        )
        == 5
    )
    fixed = {**TREE, "training": {**TREE["training"], "epochs": 4}}
    fixed["search_space"] = {k: v for k, v in TREE["search_space"].items() if k != "epochs"}
    assert full_epochs(made(fixed), {}) == 4


@given(st.data())
def test_every_point_of_the_space_resolves(data: st.DataObject) -> None:
    experiment = made(TREE)
    values = Space(experiment.search_space).choose(
        lambda name, domain: domain.from_unit(data.draw(st.floats(0, 1), label=name))
    )
    recipe = resolve(experiment, values)
    held = [call.args for call in recipe.layers] + [recipe.training.model_dump(), recipe.schedule.model_dump()]
    assert not list(uses([dict(args) for args in held]))


# --- references and JSON --------------------------------------------------------------------------------------------

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
REFS = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_.-]{0,5}\Z").map(Ref)
BOUND = st.recursive(
    PLAIN | REFS | st.text(max_size=3).map(lambda t: f"${t}"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(BOUND)
def test_references_are_spelled_and_bound_again(value: Any) -> None:
    problems: list[Any] = []
    assert bind(json.loads(json.dumps(spell(value))), problems) == value
    assert not problems


@st.composite
def experiments(draw: st.DrawFn) -> Experiment:
    """Experiments of many shapes, references and dollar signs among them."""
    tree = json.loads(json.dumps(TREE))
    tree["seed"] = draw(st.integers(0, 10**6))
    tree["model"]["layers"][1]["Dense"]["name"] = "$" + draw(st.text(max_size=5).map(lambda t: f"${t}"))
    tree["initialization"] = draw(
        st.sampled_from(
            [
                {},
                {"kernel": "he_normal", "stabilize": {"method": "lottery", "steps_per_epoch": None}},
                {"kernel": {"TruncatedNormal": {"stddev": 0.1}}, "stabilize": {"method": "warmup", "start": 0}},
            ]
        )
    )
    tree["data"]["augment"] = draw(st.sampled_from([None, {"flip": "both", "zoom": 0.1, "export": True}]))
    tree["training"]["regularization"] = draw(
        st.sampled_from([None, {"kernel": {"l1": 0.1}, "label_smoothing": "$l2"}])
    )
    tree["data"] |= draw(st.fixed_dictionaries({}, optional={"limit": st.integers(1, 99), "one_hot": st.booleans()}))
    tree["strategy"] = draw(
        st.sampled_from(
            [
                {"name": "random"},
                {"name": "bayesian", "beta": 1.5},
                {"name": "keras_tuner", "oracle": "a:B", "options": {"x": [1]}},
            ]
        )
    )
    tree["budget"] = draw(
        st.fixed_dictionaries({}, optional={"time": st.sampled_from(["90s", "10m", 3]), "target": st.floats(-1, 1)})
    )
    tree["enqueue"] = draw(
        st.lists(st.fixed_dictionaries({}, optional={"units": st.just(8), "l2": st.floats(0, 0.1)}), max_size=2)
    )
    tree["search_space"]["depth"]["max"] = draw(st.integers(1, 5))
    tree["search_space"]["units"]["values"] = draw(
        st.lists(st.integers(1, 99), min_size=8, max_size=9, unique=True).map(lambda v: sorted({*v, 8}))
    )
    return made(tree)


@given(experiments())
def test_an_experiment_survives_the_journal(experiment: Experiment) -> None:
    data = to_json(experiment)
    again = from_json(json.loads(json.dumps(data)))
    assert again == experiment
    assert to_json(again) == data
    assert resolve(again, VALUES) == resolve(experiment, VALUES)


def test_what_a_python_model_left_out_stays_left_out() -> None:
    tree = {
        "version": 1,
        "name": "p",
        "data": {"source": "iris"},
        "model": {"python": "m:build"},
        "training": {"epochs": 3},
    }
    again = from_json(to_json(made(tree)))
    assert again == made(tree)
    assert "optimizer" not in again.training.model_fields_set
    named = from_json(to_json(made({**tree, "training": {"optimizer": {"name": "sgd"}}})))
    assert "optimizer" in named.training.model_fields_set


def test_data_of_another_version_is_refused() -> None:
    with pytest.raises(SpecError, match="this version"):
        from_json({**to_json(made(TREE)), "strategy": {"name": "newer"}})
