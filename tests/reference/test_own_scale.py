"""Losses and layers that speak of the numbers as they are: they are given them, beside Keras on the plain arrays."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import keras
import numpy as np
import pytest

from hptune.base.errors import SpecError
from hptune.base.trial import Segment
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.models.sample_needs import OF_DIFFERENCES, OF_OWN_SCALE
from hptune.training.trainers.samples import Samples
from hptune.training.worker import Worker

CODE = """
import numpy as np
r = np.random.RandomState(0)
x = r.normal(size=(60, 2))
y = r.randint(1, 40, 60) / 40
def parts():
    return (x[:40], y[:40]), (x[40:], y[40:])
def own(y_true, y_pred):
    return abs(y_true - y_pred)
"""


def trained(folder: Path, loss: str) -> tuple[list[str], float]:
    """The notes, and val_loss of a network that predicts 0.25 and learns nothing."""
    (folder / "scale_data.py").write_text(CODE)
    text = f"""
        version: 1
        name: t
        data: {{python: "scale_data:parts", task: regression}}
        model:
          layers: [Dense: {{units: 1, kernel_initializer: zeros, bias_initializer: {{Constant: {{value: 0.25}}}}}}]
        search_space: {{r: {{type: choice, values: [1.0e-20]}}}}
        training: {{epochs: 1, batch_size: 20, loss: {loss}, optimizer: {{name: sgd, learning_rate: $r}}}}
        """
    (folder / "spec.yaml").write_text(dedent(text))
    loaded = load(folder / "spec.yaml")
    worker = Worker(loaded.experiment, loaded.folder, RunPaths(folder / "runs" / "t"))
    notes = list(worker.run(Segment(0, {}, purpose="probe")).facts.get("notes", ()))
    return notes, worker.run(Segment(0, {"r": 1e-20}, to_epoch=1)).curves["val_loss"][0]


def plain(loss: Any) -> float:
    held: dict[str, Any] = {}
    exec(CODE, held)
    y = held["y"][40:, None].astype("float32")
    return float(np.mean(loss(y, np.full_like(y, 0.25))))


def test_a_loss_that_is_searched_for_is_looked_at_in_all_its_forms(tmp_path: Path) -> None:
    (tmp_path / "scale_data.py").write_text(CODE)
    text = """
        version: 1
        name: t
        data: {python: "scale_data:parts", task: regression}
        model: {layers: [Dense: {units: 1}]}
        search_space: {l: {type: choice, values: [mse, poisson]}}
        training: {epochs: 1, loss: $l}
        """
    (tmp_path / "spec.yaml").write_text(dedent(text))
    loaded = load(tmp_path / "spec.yaml")
    worker = Worker(loaded.experiment, loaded.folder, RunPaths(tmp_path / "runs" / "t"))
    (note,) = worker.run(Segment(0, {}, purpose="probe")).facts["notes"]
    assert note.endswith("poisson needs its own scale")
    assert worker.run(Segment(0, {"l": "mse"}, to_epoch=1)).curves["loss"]


NAMES = [
    "msle",
    "mape",
    "poisson",
    "kl_divergence",
    "binary_crossentropy",
    "cosine_similarity",
    "MeanSquaredLogarithmicError",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_of_its_own_scale_is_given_the_target_as_it_is(tmp_path: Path, name: str) -> None:
    notes, told = trained(tmp_path, name)
    assert told == pytest.approx(plain(keras.losses.get(name)), rel=1e-5)
    assert f"the target is trained on as it is, and not standardised: {name} needs its own scale" in notes


def test_a_delta_is_in_the_target_s_unit(tmp_path: Path) -> None:
    notes, told = trained(tmp_path, "{Huber: {delta: 0.1}}")
    assert told == pytest.approx(plain(keras.losses.Huber(delta=0.1)), rel=1e-5)
    assert notes[-1].endswith("Huber with a delta needs its own scale")


def test_a_loss_of_the_users_is_said_to_be_given_it_standardised(tmp_path: Path) -> None:
    notes, told = trained(tmp_path, '"scale_data:own"')
    assert notes[-1].startswith("scale_data:own is given the target standardised")
    assert notes[-1].endswith("say data.scale: none.")
    assert told > 2 * plain(lambda y, p: np.abs(y - p)), "in deviations"


def test_every_loss_of_keras_is_of_one_kind_or_the_other() -> None:
    """That of differences doesn't change when both move; the others do, or are no loss of numbers."""
    y, p = np.array([[0.2], [0.7]], "float32"), np.array([[0.4], [0.3]], "float32")
    for name in sorted(OF_DIFFERENCES & {one for one in dir(keras.losses) if one[0].islower()}):
        loss = keras.losses.get(name)
        assert np.allclose(loss(y, p), loss(y + 1, p + 1), rtol=1e-5), name
    for name in NAMES:
        loss = keras.losses.get(name)
        assert name in OF_OWN_SCALE
        assert name == "cosine_similarity" or not np.allclose(loss(y, p), loss(y + 1, p + 1)), name


def given(folder: Path, data: str, layers: str) -> tuple[Any, tuple[str, ...]]:
    text = f"""
        version: 1
        name: t
        data: {data}
        model: {{layers: {layers}}}
        search_space: {{r: {{type: choice, values: [0.1]}}}}
        training: {{epochs: 1, optimizer: {{learning_rate: $r}}}}
        """
    (folder / "spec.yaml").write_text(dedent(text))
    loaded = load(folder / "spec.yaml")
    found = Samples(loaded.experiment, folder).data(None)
    return found.train.x, found.notes


CODES = np.arange(60) % 20
PICTURES = np.random.RandomState(0).randint(0, 256, (60, 6, 6, 1)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = [f"{code},{code % 3},{'ab'[code % 2]}" for code in CODES]
    (tmp_path / "t.csv").write_text("one,two,y\n" + "\n".join(lines))
    (tmp_path / "f.csv").write_text("one,two,y\n" + "\n".join(line.replace(",", ".5,", 1) for line in lines))
    np.savez(tmp_path / "p.npz", x=PICTURES, y=CODES % 2)
    return tmp_path


EMBEDDING = "[Embedding: {input_dim: 20, output_dim: 2}, Flatten, Output]"


def test_words_in_a_table_stay_what_they_are(folder: Path) -> None:
    x, _ = given(folder, "{csv: t.csv, target: y}", EMBEDDING)
    assert set(x[:, 0].tolist()) <= set(CODES.tolist())
    assert set(x[:, 1].tolist()) == {0, 1, 2}
    with pytest.raises(SpecError, match=r"column 'one' holds fractions, .* data\.scale: standardize"):
        given(folder, "{csv: f.csv, target: y}", EMBEDDING)
    standardised, _ = given(folder, "{csv: f.csv, target: y, scale: standardize}", EMBEDDING)
    assert abs(standardised.mean()) < 1e-6


@pytest.mark.parametrize(
    ("layers", "name"),
    [
        ("[Rescaling: {scale: 0.1}, Flatten, Output]", "Rescaling"),
        ("[Flatten, Rescaling: {scale: 0.1}, Output]", "Rescaling"),
        ("[{Normalization: {mean: 9.0, variance: 4.0, axis: null}}, Flatten, Output]", "Normalization"),
        ("[{RandomFlip: {}}, {Dropout: {rate: 0.1}}, {Rescaling: {scale: 0.1}}, Flatten, Output]", "Rescaling"),
        ("['scale_built:Noop', {Rescaling: {scale: 0.1}}, Flatten, Output]", "Rescaling"),
        (
            "[{Flatten: {name: f}}, {Dense: {units: 2, name: d}}, {Flatten: {from: input, name: g}}, "
            "{Rescaling: {scale: 0.1, from: g, name: r}}, {Concatenate: {from: [d, r]}}, Output]",
            "Rescaling",
        ),
        ("[{repeat: {times: 1, layers: [{Rescaling: {scale: 0.1}}]}}, Flatten, Output]", "Rescaling"),
        ("[{RandomFlip: {}}, {RandomBrightness: {factor: 0.2}}, Flatten, Output]", "RandomBrightness"),
        ("[{RandomContrast: {factor: 0.2, value_range: [0, 255]}}, Flatten, Output]", "RandomContrast"),
    ],
)
@pytest.mark.parametrize("source", ["{csv: t.csv, target: y}", "{npz: p.npz}"])
def test_what_a_layer_prepares_is_given_to_it_as_it_is(folder: Path, source: str, layers: str, name: str) -> None:
    if "csv" in source:
        layers = layers.replace("Flatten, ", "")
    (folder / "scale_built.py").write_text(BUILT)
    x, notes = given(folder, source, layers)
    assert float(x.max()) == (19 if "csv" in source else 255)
    assert f"samples are given to the model as they are, for its {name} to prepare (name data.scale if not)" in notes


def test_a_normalization_that_nothing_adapts_prepares_nothing(folder: Path) -> None:
    x, notes = given(folder, "{csv: t.csv, target: y}", "[Normalization, Output]")
    assert abs(float(x.mean())) < 1e-6
    assert notes == ()


def test_a_range_that_is_given_is_taken_for_that_of_the_samples(folder: Path) -> None:
    layers = "[{RandomBrightness: {factor: 0.2, value_range: [0, 1]}}, Flatten, Output]"
    x, notes = given(folder, "{npz: p.npz}", layers)
    assert (float(x.max()), notes) == (1.0, ())
    x, _ = given(folder, "{npz: p.npz}", "[Flatten, {Dense: {units: 2}}, {Rescaling: {scale: 2.0}}, Output]")
    assert float(x.max()) == 1.0


BUILT = """
import keras
L = keras.layers
class Noop(L.Layer):
    def call(self, x):
        return x
class Words(L.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.inner = L.Embedding(20, 2)
    def build(self, shape):
        self.inner.build(shape)
    def call(self, x):
        return self.inner(x)
def build(hp):
    model = keras.Sequential([keras.Input((6, 6, 1)), L.Rescaling(hp.Choice("s", [0.1])), L.Flatten(), L.Dense(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model
def divides(hp):
    put = keras.Input((6, 6, 1))
    model = keras.Model(put, L.Dense(2)(L.Flatten()(put / 255.0 - hp.Choice("s", [0.1]))))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model
def bounded(hp):
    put = keras.Input((6, 6, 1))
    hp.Boolean("b", True)
    model = keras.Model(put, L.Dense(1, "softplus")(L.Flatten()(put[:, :, ::-1])))
    model.compile("sgd", "mse")
    return model
class Fits(keras.Model):
    def __init__(self, s):
        super().__init__()
        self.inner = keras.Sequential([L.Rescaling(s), L.Flatten(), L.Dense(2)])
    def call(self, x):
        return self.inner(x)
    def fit(self, *args, **options):
        return super().fit(*args, **options)
def fits(hp):
    model = Fits(hp.Choice("s", [0.1]))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model
"""


DIVIDED = "pictures are divided by 255 before the model's code is given them. Say data.scale: none"
COLUMNS = "columns of numbers are standardised before scale_built:Words is given them. Say data.scale: none"


@pytest.mark.parametrize(
    ("model", "data", "note"),
    [
        ("{python: 'scale_built:build'}", "{npz: p.npz%s}", DIVIDED),
        ("{python: 'scale_built:divides'}", "{npz: p.npz%s}", DIVIDED),
        ("{python: 'scale_built:fits'}", "{npz: p.npz%s}", DIVIDED),
        ("{layers: ['scale_built:Words', Flatten, Output]}", "{csv: t.csv, target: y%s}", COLUMNS),
    ],
)
def test_that_code_is_given_scaled_samples_is_told(folder: Path, model: str, data: str, note: str) -> None:
    (folder / "scale_built.py").write_text(BUILT)
    for scale, told in (("", True), (", scale: none", False)):
        text = f"""
            version: 1
            name: t
            data: {data % scale}
            model: {model}
            search_space: {{s: {{type: choice, values: [0.1]}}}}
            training: {{epochs: 2}}
            objective: {{metric: val_loss}}
            """
        if "layers" in model:
            text = text.replace("s: {type: choice, values: [0.1]}", "r: {type: choice, values: [0.1]}")
            text = text.replace("training: {epochs: 2}", "training: {epochs: 2, optimizer: {learning_rate: $r}}")
        notes = notes_of(folder, text)
        assert any(note in one for one in notes) == told, notes


def notes_of(folder: Path, text: str) -> list[str]:
    """What the probe tells."""
    (folder / "spec.yaml").write_text(dedent(text))
    loaded = load(folder / "spec.yaml")
    worker = Worker(loaded.experiment, loaded.folder, RunPaths(folder / "runs" / "t"))
    return [*worker.run(Segment(0, {}, purpose="probe")).facts.get("notes", ())]


LOSSES = """
import keras
def loss(y, p):
    return keras.ops.mean(keras.ops.abs(y - p))
def build(hp):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer=hp.Choice("i", ["zeros"]))])
    model.compile("sgd", loss)
    return model
"""


@pytest.mark.parametrize(
    ("model", "training"),
    [
        ("{python: 'numbered:build'}", "{epochs: 1}"),
        ("{layers: [Dense: {units: 1, kernel_initializer: $i}]}", "{epochs: 1, loss: 'numbered:loss'}"),
    ],
)
def test_that_classes_are_numbered_for_code_is_told(folder: Path, model: str, training: str) -> None:
    (folder / "numbered.py").write_text(LOSSES)
    for labels, told in (([-1, 1], True), ([2.5, 5.0], True), ([0, 1], False), (["a", "b"], False)):
        np.savez(folder / "n.npz", x=np.random.default_rng(0).normal(size=(40, 2)), y=np.array(labels * 20))
        text = f"""
            version: 1
            name: t
            data: {{npz: n.npz, task: classes}}
            model: {model}
            search_space: {{i: {{type: choice, values: [zeros, ones]}}}}
            training: {training}
            objective: {{metric: val_loss}}
            """
        text = text if "layers" in model else text.replace("[zeros, ones]", "[zeros]")
        notes = [one for one in notes_of(folder, text) if "are numbered" in one]
        assert bool(notes) == told, labels
        if told:
            assert notes[0].startswith(f"the classes {labels[0]:g}, {labels[1]:g} are numbered 0, 1 before ")
            assert "Say data.task: regression if it counts with their values." in notes[0]


def test_a_builder_is_given_the_target_as_it_is_and_may_bound_what_it_gives(folder: Path) -> None:
    (folder / "scale_built.py").write_text(BUILT)
    np.savez(folder / "r.npz", x=PICTURES, y=CODES + 0.5)
    text = """
        version: 1
        name: t
        data: {npz: r.npz, task: regression}
        model: {python: "scale_built:bounded"}
        search_space: {b: {type: choice, values: [true]}}
        training: {epochs: 2}
        objective: {metric: val_loss}
        """
    assert [note for note in notes_of(folder, text) if "last layer" in note or "gives values" in note] == []
    np.savez(folder / "s.npz", x=PICTURES, y=CODES - 100.5)
    (note,) = [note for note in notes_of(folder, text.replace("r.npz", "s.npz")) if "gives values" in note]
    assert note.endswith("Drop the activation. It is trained as it is."), "as Keras trains it"
