"""A `model.skops` makes what scikit-learn's own estimators keep, and beyond that what its user names."""

from __future__ import annotations

import ast
import io as streams
import json
import os
import pickle
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from sklearn.cluster import FeatureAgglomeration
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor, StackingClassifier, StackingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVR
from skops import io

from hptune import __main__ as program
from hptune.base.errors import RunError, SpecError
from hptune.base.trial import Segment, SegmentResult
from hptune.experiment.reading.load import load
from hptune.run.rundir import RunPaths
from hptune.training.export.guarded import guarded
from hptune.training.export.skops_predictor import SkopsPredictor
from hptune.training.export.skops_types import known_types, load_known, strange_types
from hptune.training.trainers.sklearn_trainer import save
from hptune.training.worker import Worker
from hptune.winner.predict import predict

SPEC = """\
version: 1
name: t
data: {npz: t.npz}
model: {sklearn: MODEL, params: {max_depth: $depth}}
search_space: {depth: {type: int, min: 1, max: 9}}
"""

X, Y = np.random.RandomState(0).normal(size=(60, 4)), np.arange(60) % 2


def winner(folder: Path, model: str) -> tuple[RunPaths, SegmentResult]:
    """The run whose winner is such a model, and what training it told."""
    np.savez(folder / "t.npz", x=X, y=Y)
    (folder / "spec.yaml").write_text(SPEC.replace("MODEL", model))
    loaded = load(folder / "spec.yaml")
    run = RunPaths(folder / "runs" / "t")
    run.root.mkdir(parents=True)
    run.journal.touch()
    return run, Worker(loaded.experiment, loaded.folder, run).run(Segment(0, {"depth": 2}, to_epoch=1, purpose="best"))


def told(run: RunPaths, *trust: str) -> str:
    out = streams.StringIO()
    predict(run, run.root.parent.parent / "t.npz", out, trust=trust)
    return out.getvalue()


def of_numpy(canary: Path) -> Any:
    """A pipeline whose two steps are functions of numpy, and write the canary when it predicts."""
    import numpy.testing

    model = make_pipeline(FunctionTransformer(), FunctionTransformer(), LogisticRegression()).fit(X, Y)
    model.steps[0][1].func = np.full_like
    model.steps[0][1].kw_args = {"fill_value": f"open({str(canary)!r}, 'w').write('ran')", "dtype": "U999"}
    model.steps[1][1].func = np.vectorize(numpy.testing.runstring, otypes=[object])
    model.steps[1][1].kw_args = {"dict": {}}
    return model


def test_functions_that_numpy_ships_are_shown_and_not_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = winner(tmp_path, "sklearn.tree.DecisionTreeClassifier")
    assert told(run).startswith("prediction,")
    io.dump(of_numpy(tmp_path / "canary"), run.best_estimator)
    words = ["predict", "--input", str(tmp_path / "t.npz"), "--runs-dir", str(tmp_path / "runs")]
    assert program.run(words) == 1
    said = capsys.readouterr().err
    assert "numpy:full_like" in said
    assert "--trust numpy:full_like" in said
    assert "numpy:vectorize" in said
    assert program.run([*words, "--trust", "numpy:full_like"]) == 1, "one of them is not all of them"
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("deep", ["memory", "agglo__memory"])
def test_no_folder_of_pickles_is_named(tmp_path: Path, deep: str) -> None:
    """A stacking estimator may be told to call `fit` when it predicts, and `memory` then loads pickles."""
    inner = FeatureAgglomeration().fit(X)
    if deep == "memory":
        inner.memory = str(tmp_path)
    else:
        inner = GridSearchCV(inner, {deep: [str(tmp_path)]})
    model = StackingClassifier([("a", LogisticRegression())]).fit(X, Y)
    model.estimators_ = [inner]
    io.dump(model, tmp_path / "m.skops")
    assert not strange_types(tmp_path / "m.skops"), "else another rule refuses it"
    with pytest.raises(RunError, match="a folder of pickles"):
        load_known(tmp_path / "m.skops", [], run="t")


@pytest.mark.parametrize("disguise", ["another's number", "one text"])
def test_what_a_file_makes_counts_and_not_what_it_says(tmp_path: Path, disguise: str) -> None:
    """skops takes the object of an earlier node of the same number; and attributes may come as one JSON text."""
    text = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "is_json": True}
    with ZipFile(streams.BytesIO(io.dumps(FeatureAgglomeration().fit(X)))) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(files["schema.json"])
    held = schema["content"]["content"]
    if disguise == "one text":
        schema["content"] = {**text, "__class__": "dict", "content": json.dumps({"memory": str(tmp_path)})}
    else:
        said = {**text, "content": json.dumps(str(tmp_path)), "__id__": 7}
        rest = {name: node for name, node in held.items() if name not in ("metric", "memory")}
        schema["content"]["content"] = {"metric": said, **rest, "memory": {**said, "content": "null"}}
    with ZipFile(tmp_path / "m.skops", "w") as archive:
        for name, content in {**files, "schema.json": json.dumps(schema).encode()}.items():
            archive.writestr(name, content)
    made = io.load(tmp_path / "m.skops", trusted=[*known_types()])
    assert made.memory == str(tmp_path), "else it tries nothing"
    with pytest.raises(RunError, match="a folder of pickles"):
        load_known(tmp_path / "m.skops", [], run="t")


def predicted(folder: Path, model: Any, x: Any) -> Any:
    """What a run predicts whose winner is this model."""
    run = RunPaths(folder / "runs" / "t")
    run.best_estimator.parent.mkdir(parents=True)
    io.dump(model, run.best_estimator)
    signature: Any = SimpleNamespace(labels=None, task="regression", preparation=lambda samples, rows: samples)
    return SkopsPredictor(run, signature)(x).numbers


def stack_that_calls(method: str, inner: Any) -> Any:
    model = StackingRegressor([("a", LinearRegression())], LinearRegression()).fit(X, X[:, 0])
    model.estimators_, model.stack_method_ = inner, [method]
    return model


@pytest.mark.parametrize("method", ["fit", "tofile", "set_params"])
def test_stacks_call_nothing_but_what_predicts(tmp_path: Path, method: str) -> None:
    with pytest.raises(RunError, match=r"other methods than those that predict \(stack_method_\)"):
        predicted(tmp_path, stack_that_calls(method, [LinearRegression()]), X)


def test_a_threshold_calls_nothing_but_what_predicts(tmp_path: Path) -> None:
    model = FixedThresholdClassifier(LogisticRegression()).fit(X, Y).set_params(response_method="fit")
    with pytest.raises(RunError, match=r"other methods than those that predict \(response_method\)"):
        predicted(tmp_path, model, X)


def test_what_an_estimator_says_is_spelled_out_and_no_prediction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def says(_: Any, x: Any) -> Any:
        print("to the \x1b]0;title")
        warnings.warn("of \x1b[31m red", UserWarning, stacklevel=1)
        return x[:, 0]

    model = LinearRegression().fit(X, X[:, 0])
    monkeypatch.setattr(LinearRegression, "predict", says)
    predicted(tmp_path, model, X)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines()[:2] == ["to the \\x1b]0;title", "note: of \\x1b[31m red"]


def test_a_first_prediction_is_quiet(tmp_path: Path) -> None:
    """scikit-learn asks how many cores there are, which begins a process: in one that has not asked before."""
    io.dump(HistGradientBoostingRegressor(max_iter=3).fit(X, X[:, 0]), tmp_path / "m.skops")
    code = f"""
import numpy as np
from hptune.training.export.guarded import guarded
from hptune.training.export.skops_types import load_known
from pathlib import Path
with guarded():
    made = load_known(Path({str(tmp_path / "m.skops")!r}), [], run="t")
    made.predict(np.zeros((2000, 4)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_an_estimator_need_not_tell_how_many_columns_it_was_given(tmp_path: Path) -> None:
    model = make_pipeline(FunctionTransformer(np.square), LinearRegression()).fit(X, X[:, :2])
    del model[-1].n_features_in_
    run = RunPaths(tmp_path / "runs" / "t")
    run.best_estimator.parent.mkdir(parents=True)
    io.dump(model, run.best_estimator)
    signature: Any = SimpleNamespace(labels=None, targets=(), task="regression", columns=4)
    assert SkopsPredictor(run, signature).width == 2


@pytest.mark.parametrize("way", ["pickle", "write", "process"])
def test_an_estimator_that_predicts_can_do_nothing_else(tmp_path: Path, way: str) -> None:
    """Whatever leads there: here types that the test alone knows."""
    file = tmp_path / "file"
    file.write_bytes(pickle.dumps(Path("x")))
    ways: dict[str, Callable[[], Any]] = {
        "pickle": lambda: pickle.loads(file.read_bytes()),
        "write": lambda: X.tofile(tmp_path / "written"),
        "process": lambda: os.system("true"),
    }
    does = ways[way]
    with guarded(), pytest.raises(PermissionError, match="as it predicts"):
        does()
    does()


def test_a_clock_that_the_file_can_not_tell_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(0))
    with pytest.raises(RunError, match=r"the clock stands in 1970\. Set it, then: hptune train-best --run t"):
        save(RunPaths(tmp_path / "runs" / "t"), LinearRegression())


def test_predict_is_guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LinearRegression().fit(X, X[:, 0])
    monkeypatch.setattr(LinearRegression, "predict", lambda _, x: x.tofile(tmp_path / "written"))
    with pytest.raises(RunError, match=r"can't predict: PermissionError: it writes as it predicts"):
        predicted(tmp_path, model, X)
    assert not (tmp_path / "written").exists()


def test_scikit_learns_own_estimators_predict_under_guard(tmp_path: Path) -> None:
    forest = RandomForestRegressor(5, n_jobs=2, random_state=0).fit(X, X[:, 0])
    union = make_union(StandardScaler(), FunctionTransformer(), n_jobs=2)
    model = StackingRegressor([("a", forest), ("b", make_pipeline(union, SVR()))], LinearRegression()).fit(X, X[:, 0])
    assert predicted(tmp_path, model, X)[:, 0] == pytest.approx(model.predict(X))


def tree_of_mine(folder: Path, name: str) -> str:
    code = "from sklearn.tree import DecisionTreeClassifier\nclass Tree(DecisionTreeClassifier):\n    pass\n"
    (folder / f"{name}.py").write_text(code)
    return f"{name}:Tree"


def test_a_type_of_the_users_own_is_named_by_the_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, result = winner(tmp_path, tree_of_mine(tmp_path, "mine_a"))
    assert "--trust mine_a:Tree" in result.facts["note"]
    with pytest.raises(RunError, match=r"holds mine_a:Tree, .*hptune predict --run t --trust mine_a:Tree"):
        told(run)
    monkeypatch.chdir(tmp_path)
    assert told(run, "mine_a:Tree") == told(run, "mine_a.Tree")
    with pytest.raises(RunError, match="holds mine_a:Tree"):
        told(run, "mine_a:Other")


def test_the_runs_folder_names_no_type_and_no_place_for_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = winner(tmp_path, tree_of_mine(tmp_path, "mine_b"))
    signature = json.loads(run.best_signature.read_text())
    signature |= {"folder": str(tmp_path), "code": {"Tree": "mine_b:Tree"}}
    run.best_signature.write_text(json.dumps(signature))
    with pytest.raises(RunError, match="holds mine_b:Tree"):
        told(run)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one != str(tmp_path)])
    monkeypatch.delitem(sys.modules, "mine_b")
    with pytest.raises(SpecError, match=r"--trust mine_b:Tree: no module 'mine_b' among the installed packages or in"):
        told(run, "mine_b:Tree")
    for wrong in ("Tree", ":Tree"):
        with pytest.raises(SpecError, match="must be module:Class, got 'Tree'"):
            told(run, wrong)


def test_a_module_that_is_installed_goes_before_one_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = winner(tmp_path, "sklearn.tree.DecisionTreeClassifier")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys, "path", [one for one in sys.path if one not in ("", str(tmp_path))]
    )  # not there in the command
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    (tmp_path / "colorsys.py").write_text("raise SystemExit('imported')")
    assert told(run, "colorsys:Tree") == told(run)


@pytest.mark.parametrize("damage", ["nothing", "text", "cut", "no schema"])
def test_a_damaged_file_is_told(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "m.skops"
    io.dump(LogisticRegression().fit(X, Y), path)
    whole = path.read_bytes()
    path.write_bytes({"nothing": b"", "text": b"no zip", "cut": whole[:-40]}.get(damage, whole))
    if damage == "no schema":
        path.write_bytes(whole.replace(b"schema.json", b"schemb.json"))
    with pytest.raises(RunError, match=r"m\.skops can't be loaded: "):
        load_known(path, [], run="t")


# --- the list ---------------------------------------------------------------------------------------------------------


def script() -> Any:
    sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
    try:
        import known_types  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    return known_types


def test_every_known_estimator_comes_back_and_needs_nothing_else(tmp_path: Path) -> None:
    """Each estimator of the installed scikit-learn that predicts or transforms, fitted to the first target it takes."""
    walk = script()
    done: set[str] = set()
    for one in walk.plain():
        name = type(one).__name__
        for target in walk.TARGETS if name not in done else ():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    one.fit(walk.X, target)
                except Exception:  # noqa: BLE001  # not for this estimator
                    continue
                io.dump(one, tmp_path / "m.skops")
                assert type(load_known(tmp_path / "m.skops", [], run="t")) is type(one)
            done.add(name)
            break
    assert len(done) > 130, sorted(done)


@pytest.mark.slow
def test_the_list_is_what_the_script_writes() -> None:
    walk = script()
    assert walk.found() == known_types()


def test_the_list_holds_no_function_that_runs_text() -> None:
    """Functions in it are scikit-learn's measures and scores of features, and a few that estimators keep."""
    kept = {
        "numpy.mean",
        "scipy._lib.array_api_compat.numpy._aliases.asarray",
        "sklearn.cluster._kmeans._kmeans_single_lloyd",
        "sklearn.utils.validation.check_array",
    }
    walk = script()
    functions = {one for one in known_types() if not _is_class(one)} - kept - {f"numpy.{name}" for name in walk.UFUNCS}
    assert all(one.startswith(("sklearn.metrics.", "sklearn.feature_selection.")) for one in functions), functions
    packages = {one.partition(".")[0] for one in known_types()}
    assert packages == {"builtins", "functools", "numpy", "scipy", "sklearn"}
    assert {one for one in known_types() if one.startswith(("builtins", "functools"))} <= {
        f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "slice", "str", "tuple")
    } | {"functools.partial"}


def _is_class(name: str) -> bool:
    import importlib

    module, _, last = name.rpartition(".")
    return isinstance(getattr(importlib.import_module(module), last), type)


def test_no_module_of_training_trusts_by_a_prefix() -> None:
    """Whatever loads a skops file asks the list."""
    import hptune

    root = Path(hptune.__file__).parent
    loads = [
        path.name
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "skops" and "io.load(" in path.read_text()
    ]
    assert set(loads) == {"skops_types.py"}
