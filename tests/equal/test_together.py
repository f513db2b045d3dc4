"""A trial is the same to the bit whatever was trained before it, and in one piece or two: metamorphic tests.

Experiments are drawn at random, and their points trained (a) together in one process in their order, (b) in another
order, (c) each in a process of its own, (d) each in two pieces, as a promotion or a resume has it.
`HPTUNE_TOGETHER=200` says how many the deep run draws, `HPTUNE_TOGETHER_SEED` which.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import nullcontext
from typing import Any, TypeAlias

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings

from .small import Drawn, Learnt, Piece, experiments, fresh_processes, new_interpreters, train

ALONE = "alone, in a process of its own"
MOST_TOLD = 6

Trained: TypeAlias = dict[tuple[int, int], Learnt]
"""By (trial, replica)."""


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with fresh_processes() as made:
        yield made


DRAWS = settings(
    deadline=None,
    database=None,
    phases=[Phase.generate],  # what fails is told as it is: shrinking would train for hours
    suppress_health_check=list(HealthCheck),
)


CAUGHT = {
    "a metric's name in the second structure, momentum that is 0 first, a batch larger than the data": """\
data: {source: iris, limit: 60, one_hot: true}
model: {layers: [{Dense: {units: $units, activation: relu}}, {Dropout: {rate: $rate}}, Output]}
training:
  optimizer: {name: sgd, learning_rate: 0.1, momentum: $momentum, nesterov: true}
  loss: categorical_crossentropy
  metrics: [{AUC: {num_thresholds: 50}}]
  batch_size: $batch_size
  epochs: 3
search_space:
  units: {type: choice, values: [4, 6]}
  rate: {type: choice, values: [0.0, 0.3]}
  momentum: {type: choice, values: [0.0, 0.9]}
  batch_size: {type: choice, values: [7, 1000]}
enqueue:
- {units: 4, rate: 0.0, momentum: 0.0, batch_size: 7}
- {units: 6, rate: 0.3, momentum: 0.9, batch_size: 7}
- {units: 4, rate: 0.3, momentum: 0.9, batch_size: 1000}
- {units: 4, rate: 0.3, momentum: 0.9, batch_size: 7}
""",
    "weights that are stabilised for several optimizers, slots that start as a copy of the weights": """\
data: {source: iris, limit: 60}
model: {layers: [{Dense: {units: 4}}, Output]}
initialization: {stabilize: {method: warmup, epochs: 1}}
training:
  optimizer: {name: $optimizer, learning_rate: $rate}
  batch_size: $batch_size
  epochs: 3
search_space:
  optimizer: {type: choice, values: [adam, schedulefreeadamw]}
  rate: {type: choice, values: [0.01, 0.1]}
  batch_size: {type: choice, values: [7, 16]}
enqueue:
- {optimizer: schedulefreeadamw, rate: 0.1, batch_size: 7}
- {optimizer: adam, rate: 0.01, batch_size: 16}
- {optimizer: schedulefreeadamw, rate: 0.01, batch_size: 16}
""",
    "another seed's weights in a structure that is known": """\
data: {python: "small_code:sequences"}
model: {layers: [{SimpleRNN: {units: 3, recurrent_regularizer: {L2: {l2: $l2}}}}, Output]}
training: {optimizer: {name: adam, weight_decay: $decay}, metrics: [], batch_size: 16, epochs: 3}
evaluation: {repeats: 2}
search_space:
  l2: {type: choice, values: [0.0, 0.1]}
  decay: {type: choice, values: [0.0, 0.1]}
enqueue: [{l2: 0.0, decay: 0.1}, {l2: 0.1, decay: 0.0}]
""",
}
"""What has once been found, or might be: by what differed."""


@pytest.mark.parametrize(
    "what", [pytest.param(one, marks=[pytest.mark.slow] if number else []) for number, one in enumerate(CAUGHT)]
)
def test_what_was_found_stays_mended(pool: ProcessPoolExecutor, what: str) -> None:
    tree = {"version": 1, "name": "small", **yaml.safe_load(CAUGHT[what])}
    drawn = Drawn(tree, order=list(reversed(range(len(tree["enqueue"])))), pieces=2, elsewhere=False)
    differences = list(told_differences(pool, drawn))
    assert not differences, report(drawn, differences)


@settings(DRAWS, max_examples=1)
@seed(7)  # a dense net, and two outputs: small ones
@given(drawn=experiments(points=3))
def test_a_trial_is_the_same_whatever_was_trained_before(pool: ProcessPoolExecutor, drawn: Drawn) -> None:
    differences = list(told_differences(pool, drawn))
    assert not differences, report(drawn, differences)


@pytest.mark.slow
def test_many_trials_are_the_same_whatever_was_trained_before(pool: ProcessPoolExecutor) -> None:
    """Goes on after a failure, so that one run finds all."""
    failures: list[str] = []
    number = 0

    @settings(DRAWS, max_examples=int(os.environ.get("HPTUNE_TOGETHER", "40")))
    @seed(int(os.environ.get("HPTUNE_TOGETHER_SEED", "0")))
    @given(drawn=experiments())
    def each(drawn: Drawn) -> None:
        nonlocal number
        number += 1
        with new_interpreters() if number % 5 == 0 else nullcontext() as other:
            differences = list(told_differences(pool, drawn, other))
        if number % 10 == 0:
            print(f"\n{number} experiments, {len(failures)} differ", flush=True)
        if differences:
            failures.append(report(drawn, differences))
            print(f"\n--- experiment {number}\n{failures[-1]}", flush=True)

    each()
    assert not failures, f"{len(failures)} of {number} experiments differ:\n\n" + "\n\n".join(failures)


# --- the four ways --------------------------------------------------------------------------------------------------


def told_differences(
    pool: ProcessPoolExecutor, drawn: Drawn, other: ProcessPoolExecutor | None = None
) -> Iterator[str]:
    """Each trial that is not the same in all ways: in which, after what, and where it differs.

    other: a pool of new interpreters, in one of which all are trained once more.
    """
    trials = range(len(drawn.points))
    ways = {ALONE: [_begin(pool, drawn, [trial]) for trial in trials]}
    ways["together"] = [_begin(pool, drawn, list(trials), probed=True)]
    if other is not None:
        ways["in a new interpreter"] = [_begin(other, drawn, list(trials))]
    if drawn.order != list(trials):
        ways[f"together in the order {drawn.order}"] = [_begin(pool, drawn, drawn.order)]
    trained = {way: _joined(parts) for way, parts in ways.items()}
    if drawn.pieces is not None:
        where = "another process" if drawn.elsewhere else "the same process"
        way = f"in two pieces, the second from epoch {drawn.pieces} in {where}"
        trained[way] = _in_two_pieces(pool, drawn, drawn.pieces)
    alone = trained.pop(ALONE)
    for way, found in trained.items():
        for key in alone:
            if difference := differs(alone[key], found[key]):
                yield f"trial {key[0]}, replica {key[1]}, trained {way}: {difference}"
                if way.startswith("together"):
                    order = list(trials) if way == "together" else drawn.order
                    yield from _after_what(pool, drawn, order[: order.index(key[0])], key, alone[key])


def _whole(drawn: Drawn, trials: list[int]) -> list[Piece]:
    return [(trial, replica, 0, drawn.epochs) for trial in trials for replica in range(drawn.replicas)]


def _begin(
    pool: ProcessPoolExecutor, drawn: Drawn, trials: list[int], *, probed: bool = False
) -> Future[dict[Piece, Learnt]]:
    """Have these trials trained in a fresh process, one after the other."""
    return pool.submit(train, drawn.tree, _whole(drawn, trials), probed=probed)


def _joined(parts: list[Future[dict[Piece, Learnt]]]) -> Trained:
    return {piece[:2]: learnt for part in parts for piece, learnt in part.result().items()}


def _in_two_pieces(pool: ProcessPoolExecutor, drawn: Drawn, cut: int) -> Trained:
    keys = [(trial, replica) for trial in drawn.order for replica in range(drawn.replicas)]
    pieces = [[(*key, 0, cut) for key in keys], [(*key, cut, drawn.epochs) for key in reversed(keys)]]
    with tempfile.TemporaryDirectory() as folder:
        parts = pieces if drawn.elsewhere else [[*pieces[0], *pieces[1]]]
        found: dict[Piece, Learnt] = {}
        for part in parts:
            found |= pool.submit(train, drawn.tree, part, folder).result()
    whole: Trained = {}
    for key in keys:
        first, second = found[(*key, 0, cut)], found.get((*key, cut, drawn.epochs))
        whole[key] = first if second is None or second["error"] else second
        if second is not None:
            curves = {name: first["curves"][name] + curve for name, curve in second["curves"].items()}
            whole[key] = {**second, "curves": curves} if second["error"] is None else second
    return whole


def _after_what(
    pool: ProcessPoolExecutor, drawn: Drawn, before: list[int], key: tuple[int, int], alone: Learnt
) -> Iterator[str]:
    """Which of the trials before it suffices to make the difference, each tried by itself."""
    tried = {other: _begin(pool, drawn, [other, key[0]]) for other in before}
    for other, part in tried.items():
        if difference := differs(alone, _joined([part])[key]):
            yield f"  trial {key[0]} directly after trial {other} alone: {difference}"


# --- what is told ---------------------------------------------------------------------------------------------------


def differs(then: Learnt, now: Learnt) -> str | None:
    """The first places in which two trainings differ; None where they are the same to the bit."""
    if then["error"] or now["error"]:
        same = then["error"] == now["error"]
        return None if same else f"then {then['error'] or 'no error'}, now {now['error'] or 'no error'}"
    if then["curves"].keys() != now["curves"].keys():
        return f"the metrics are {list(then['curves'])} alone and {list(now['curves'])} here"
    places = [*_curves(then["curves"], now["curves"])]
    if not places and list(then["curves"]) != list(now["curves"]):
        places.append(f"the metrics' order, {list(then['curves'])} alone and {list(now['curves'])} here")
    if not places and then["state"] != now["state"]:
        names = [name for name in then["state"] | now["state"] if then["state"].get(name) != now["state"].get(name)]
        places.append(f"the curves are the same, and the state is not: {', '.join(names)}")
    shown = "; ".join(places[:MOST_TOLD])
    return shown + (f"; and {len(places) - MOST_TOLD} more" if len(places) > MOST_TOLD else "") or None


def _curves(then: dict[str, list[str]], now: dict[str, list[str]]) -> Iterator[str]:
    for name, curve in then.items():
        if len(curve) != len(now[name]):
            yield f"{name} has {len(curve)} epochs alone and {len(now[name])} here"
        elif curve != now[name]:
            epoch = next(at for at, (a, b) in enumerate(zip(curve, now[name], strict=True)) if a != b)
            a, b = float.fromhex(curve[epoch]), float.fromhex(now[name][epoch])
            yield f"{name} from epoch {epoch + 1}: {a!r} alone, {b!r} here"


def report(drawn: Drawn, differences: list[str]) -> str:
    return "\n".join(["# " + line for line in differences]) + f"\n{drawn.yaml}"


# --- the suite itself -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda found: found["curves"]["loss"].__setitem__(1, (0.25).hex()), "loss from epoch 2: 0.5 alone, 0.25 here"),
        (lambda found: found["curves"].__setitem__("auc_1", found["curves"].pop("auc")), "metrics are"),
        (lambda found: found["state"].__setitem__("optimizer.1", "b"), "the state is not: optimizer.1"),
        (lambda found: found.__setitem__("error", "ValueError"), "then no error, now ValueError"),
        (lambda found: found["curves"]["auc"].pop(), "auc has 2 epochs alone and 1 here"),
    ],
)
def test_every_difference_is_seen(change: Callable[[Any], Any], told: str) -> None:
    def learnt() -> Learnt:
        curves = {"loss": [(1.0).hex(), (0.5).hex()], "auc": [(0.5).hex(), (0.75).hex()]}
        return {"curves": curves, "state": {"model.0": "a", "optimizer.1": "a"}, "ended": False, "error": None}

    other = learnt()
    change(other)
    assert differs(learnt(), learnt()) is None
    assert told in (differs(learnt(), other) or "")
