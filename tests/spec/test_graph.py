"""Layers that name whose output they take: how they are wired, and what is told of wires that lead nowhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent, indent

import pytest

from hptune.base.errors import SegmentFailed, SpecError
from hptune.experiment.defaults import fill
from hptune.experiment.experiment import Experiment
from hptune.experiment.graph import Graph, LayerCall, wire
from hptune.experiment.model import LayersModel
from hptune.experiment.reading.load import load
from hptune.experiment.recipe import resolve

SPACE = """
search_space:
  units: {type: choice, values: [4, 8]}
  times: {type: int, min: 0, max: 2}
  one: {type: choice, values: [a, b]}
"""

Load = Callable[[str], Experiment]


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    def made(model: str) -> Experiment:
        path = tmp_path / "g.yaml"
        text = f"version: 1\nname: g\ndata: {{source: digits}}\nmodel:\n{indent(dedent(model).strip(), '  ')}\n"
        used = "\n".join(line for line in SPACE.splitlines() if f"${line.split(':')[0].strip()}" in model)
        trained = "training: {batch_size: $batch}"
        path.write_text(f"{text}{trained}\nsearch_space:\n  batch: {{type: choice, values: [8]}}\n{used}\n")
        return load(path).experiment

    return made


RESIDUAL = """
layers:
  - Flatten
  - Dense: {units: 4, name: x}
  - repeat:
      times: $times
      layers:
        - Dense: {units: 4, from: x, name: y}
        - Add: {from: [x, y], name: x}
  - Dense: {units: 10, from: x}
"""


def test_a_name_means_the_last_layer_above_that_has_it(loaded: Load) -> None:
    graph = resolve(loaded(RESIDUAL), {"times": 2}).graph
    assert [call.source for call in graph.calls] == [None, None, None, (1, 2), None, (3, 4), None]
    names = [call.args.get("name") for call in graph.calls]
    assert names == [None, "x", "y", "x_1", "y_1", "x_2", None]  # Keras wants each layer under a name of its own
    assert resolve(loaded(RESIDUAL), {"times": 0}).graph.is_stack


def test_wires_that_follow_the_order_make_a_stack() -> None:
    calls = [LayerCall("Flatten", {"name": "a"}), LayerCall("Dense", {"units": 1, "from": "a"})]
    assert wire(calls) == Graph((LayerCall("Flatten", {"name": "a"}), LayerCall("Dense", {"units": 1})))
    assert wire(calls, outputs=[]).is_stack


def test_inputs_outputs_and_arguments_of_the_call() -> None:
    calls = [
        LayerCall("Dense", {"units": 2, "name": "a", "from": "left"}),
        LayerCall("Dense", {"units": 2, "name": "b", "from": "right"}),
        LayerCall("Attention", {"name": "c", "from": {"query": "a", "value": ["b"]}}),
    ]
    graph = wire(calls, inputs=["left", "right"], outputs=["c", "a"])
    assert [call.source for call in graph.calls] == [None, -2, {"query": 0, "value": (1,)}]
    assert graph.outputs == {"c": 2, "a": 0}
    assert graph.ends == (2, 0)


def test_a_name_that_a_repeat_of_no_times_takes_away() -> None:
    with pytest.raises(SegmentFailed, match="no layer above is called 'gone' here; there are input"):
        wire([LayerCall("Dense", {"units": 1, "from": "gone"})])


def test_where_a_layer_is_taken_from_may_be_searched(loaded: Load) -> None:
    experiment = loaded(
        """
    layers:
      - Flatten: {name: a}
      - Dense: {units: $units, name: b}
      - Dense: {units: 3, from: $one}
      - Concatenate: {from: [a, dense]}
      - Output
    """.replace("units: 3,", "units: 3, name: dense,")
    )
    sources = [resolve(experiment, {"units": 4, "one": one}).graph.calls[2].source for one in ("a", "b")]
    assert sources == [0, None]


@pytest.mark.parametrize(
    ("model", "place", "words"),
    [
        ("layers: [Flatten, Dense: {units: 4, from: b}]", "5:45", "unknown layer 'b'. Known: input"),
        ("layers: [Flatten: {name: abc}, Dense: {units: 4, from: abd}]", "5:58", "did you mean 'abc'?"),
        ("layers: [Flatten, Dense: {units: 4, from: b}, Dense: {units: 1, name: b}]", "5:45", "Only a layer above"),
        ("layers: [Flatten: {name: a}, Dense: {units: 4}, Dense: {units: 1, from: a}]", "5:32", "Dense goes nowhere"),
        ("layers: [Flatten: {name: a}, Add: {from: a}]", "5:44", "Add takes several layers"),
        ("layers: [Flatten, Add]", "5:21", "Add from: [one, other]"),
        ("layers: [Flatten: {name: input}]", "5:28", "what the input is called"),
        ("layers: [Flatten: {name: a}]\noutputs: [b]", "6:13", "unknown layer 'b'"),
        ("layers: [Flatten: {name: a}]\noutputs: [input]", "6:13", "input is an input"),
        ("layers: [Flatten: {from: p}]\ninputs: [p, q]", "6:15", "no layer takes q"),
        ("layers: [Flatten]\ninputs: [p, q]", "5:12", "there are several inputs"),
        ("layers: [Flatten]\ninputs: 3", "6:11", "must be a list"),
        ("layers: [Flatten: {name: a}]\noutputs: [[]]", "6:13", "must be text, got an empty one"),
        ("layers: [Flatten: {name: a}]\noutputs: [a, []]", "6:16", "must be text, got an empty one"),
        ("layers: [Flatten, Dense: {units: 4, from: 3}]", "5:45", "must be the name of a layer above, got 3"),
        ("layers: [Bidirectional: {layer: {LSTM: {units: 3, from: a}}}]", "5:53", "unknown argument of LSTM 'from'"),
        (RESIDUAL.replace("units: 10, from: x", "units: 10, from: y"), "13:32", "stands in a repeat alone"),
    ],
)
def test_a_wire_that_leads_nowhere_is_told_at_its_place(loaded: Load, model: str, place: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        loaded(model)
    told = str(caught.value).splitlines()
    assert any(f"g.yaml:{place}: " in line and words in line for line in told), told


@pytest.mark.parametrize(
    ("task", "classes", "outputs", "dense"),
    [
        ("classes", 3, 1, {"units": 3, "activation": "softmax"}),
        ("regression", None, 2, {"units": 2, "activation": "linear"}),
        ("labels", 4, 4, {"units": 4, "activation": "sigmoid"}),
    ],
)
def test_the_output_is_as_large_as_the_data_wants_it(
    loaded: Load, task: str, classes: int | None, outputs: int, dense: dict[str, object]
) -> None:
    experiment = loaded(
        "layers: [Flatten, repeat: {times: 1, layers: [Dense: {units: 2}]}, Output: {name: end}]".strip()
    )
    filled = fill(experiment, task, classes, outputs=outputs)  # type: ignore[arg-type]  # parametrised
    assert isinstance(filled.model, LayersModel)
    assert filled.model.layers[-1] == {"Dense": {**dense, "name": "end"}}
    assert fill(filled, task, classes, outputs=outputs) == filled  # type: ignore[arg-type]
    unknown = fill(experiment, "regression")
    assert isinstance(unknown.model, LayersModel)
    assert unknown.model.layers[-1] == {"Output": {"name": "end"}}


def test_code_of_ones_own_is_named_and_not_run(loaded: Load) -> None:
    experiment = loaded("layers: [Flatten, nowhere.at_all:Layer: {anything: 1}, Output]")
    assert isinstance(experiment.model, LayersModel)
    with pytest.raises(SpecError, match="must be module:name"):
        loaded("layers: [Flatten, ':Layer', Output]")
