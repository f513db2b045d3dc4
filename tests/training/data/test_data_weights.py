"""What counts how much, and which rows go where, from the YAML's keys to the parts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hptune.base.errors import SpecError
from hptune.experiment.data import CsvData, SourceData
from hptune.training.data import Data, load_data, load_folds
from hptune.training.data.needs import Needs

N = 90


def write(folder: Path, **changed: list[Any]) -> None:
    columns: dict[str, list[Any]] = {
        "row": list(range(N)),
        "user": [f"u{i // 3}" for i in range(N)],
        "day": [f"2025-{1 + i % 9:02d}-{1 + i % 28:02d}" for i in range(N)],
        "weight": [0.5 + i % 4 for i in range(N)],
        "bought": ["yes" if i % 3 == 0 else "no" for i in range(N)],
        **changed,
    }
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    (folder / "t.csv").write_text("\n".join(lines) + "\n")


def spec(**options: Any) -> CsvData:
    return CsvData(**{"csv": "t.csv", "target": "bought", "features": ["row"], "scale": "none", **options})


def load(folder: Path, **options: Any) -> Data:
    return load_data(spec(**options), folder=folder, seed=0, with_test=True)


def rows(data: Data) -> list[list[int]]:
    return [part.x[:, 0].astype(int).tolist() for part in (data.train, data.validation, data.test) if part is not None]


def refused(folder: Path, **options: Any) -> str:
    with pytest.raises(SpecError) as error:
        load(folder, **options)
    return str(error.value)


# --- weights ---------------------------------------------------------------------------------------------------------


def test_nothing_is_weighed_unless_asked_for(tmp_path: Path) -> None:
    write(tmp_path)
    assert load(tmp_path).train.sample_weight is None


def test_sample_weights_go_with_their_rows(tmp_path: Path) -> None:
    write(tmp_path)
    data = load(tmp_path, sample_weight="weight")
    assert data.test is not None
    for part in (data.train, data.validation, data.test):
        assert part.sample_weight is not None
        assert part.sample_weight.dtype == np.float32
        assert part.sample_weight.tolist() == [0.5 + row % 4 for row in part.x[:, 0].astype(int)]


def test_class_weights_are_of_the_training_part_alone(tmp_path: Path) -> None:
    write(tmp_path)
    data = load(tmp_path, class_weight="balanced")
    weights, y = data.train.sample_weight, data.train.y
    assert weights is not None
    assert weights[y == 0].sum() == pytest.approx(weights[y == 1].sum()) == pytest.approx(len(y) / 2)
    assert data.validation.sample_weight is None
    given = load(tmp_path, class_weight={"yes": 3.0}, sample_weight="weight")
    own = np.array([0.5 + row % 4 for row in given.train.x[:, 0].astype(int)])
    assert given.train.sample_weight is not None
    assert np.allclose(given.train.sample_weight, own * np.where(given.train.y == 1, 3.0, 1.0))


def test_labels_of_class_weights_are_found_as_text() -> None:
    data = load_data(SourceData(source="digits", class_weight={"3": 2.0, "4": 0.5}), folder=Path(), seed=0)
    weights = data.train.sample_weight
    assert weights is not None
    assert np.array_equal(weights, np.select([data.train.y == 3, data.train.y == 4], [2.0, 0.5], 1.0))


def test_class_weights_that_fit_no_class(tmp_path: Path) -> None:
    write(tmp_path)
    assert refused(tmp_path, class_weight={"yess": 2.0}).startswith(
        "data.class_weight: unknown class 'yess'; did you mean 'yes'?"
    )
    told = refused(tmp_path, target="row", features=["user"], class_weight="balanced")
    assert told.startswith("data.class_weight: is for classes, and this target is regression. Drop it, or weigh")


def test_in_each_part_a_row_must_count(tmp_path: Path) -> None:
    write(tmp_path)
    parts = dict(zip(("training", "validation", "test"), rows(load(tmp_path)), strict=True))
    for name, held in parts.items():
        write(tmp_path, weight=[0 if i in held else 1 for i in range(N)])
        told = refused(tmp_path, sample_weight="weight")
        assert told.startswith(f"data.sample_weight: every weight in the {name} part is 0: ")
    write(tmp_path, weight=[0 if i in parts["validation"] else 1 for i in range(N)])
    wide = load_data(spec(sample_weight="weight"), folder=tmp_path, seed=0, needs=Needs(wide=True))
    assert wide.rows["validation"] == 18, "scikit-learn's scores know no weights"


# --- groups and time -------------------------------------------------------------------------------------------------


def test_a_group_stays_in_one_part(tmp_path: Path) -> None:
    write(tmp_path)
    parts = rows(load(tmp_path, group="user"))
    users = [{row // 3 for row in part} for part in parts]
    assert sum(map(len, users)) == N // 3
    assert [len(part) for part in parts] == [54, 18, 18]
    for fold in load_folds(spec(group="user"), folder=tmp_path, seed=0, folds=4):
        assert not {row // 3 for row in rows(fold)[0]} & {row // 3 for row in rows(fold)[1]}


def test_time_goes_forward(tmp_path: Path) -> None:
    write(tmp_path)
    parts = rows(load(tmp_path, time="day"))
    days = [[(1 + row % 9, 1 + row % 28) for row in part] for part in parts]
    assert max(days[0]) < min(days[1])
    assert max(days[1]) < min(days[2])
    for fold in load_folds(spec(time="day"), folder=tmp_path, seed=0, folds=3):
        months = [[(1 + row % 9, 1 + row % 28) for row in part] for part in rows(fold)]
        assert max(months[0]) < min(months[1])


@pytest.mark.parametrize("spell", [str, "{:.1f}".format, "{:03d}".format])
def test_a_group_of_numbers_is_one_however_it_is_spelled(tmp_path: Path, spell: Any) -> None:
    """7, 7.0 and 007 side by side, dealt as where all are spelled alike."""
    users = [i // 3 for i in range(N)]
    write(tmp_path, user=users)
    plain = rows(load(tmp_path, group="user"))
    write(tmp_path, user=[spell(user) if i % 3 == 2 else user for i, user in enumerate(users)])
    assert rows(load(tmp_path, group="user")) == plain
    assert sum(len({users[row] for row in part}) for part in plain) == len(set(users))


def test_groups_that_are_names_stay_as_they_are_spelled(tmp_path: Path) -> None:
    write(tmp_path, user=[["a7", "007", "7", "7.0"][i % 4] for i in range(N)])
    assert load(tmp_path, group="user").rows["test"] > 0, "four groups"
    write(tmp_path, user=[["07", "007", "7"][i % 3] for i in range(N)])
    assert "the column has 1 groups" in refused(tmp_path, group="user")


def test_the_fingerprint_knows_weights_groups_and_time(tmp_path: Path) -> None:
    write(tmp_path)
    asked: list[dict[str, Any]] = [{}, {"sample_weight": "weight"}, {"group": "user"}, {"time": "day"}]
    found = [load(tmp_path, **options).fingerprint for options in asked]
    write(tmp_path, weight=[1.0] * N, user=[i % 5 for i in range(N)], day=[f"20{i + 10}-01-01" for i in range(N)])
    found += [load(tmp_path, **options).fingerprint for options in asked]
    assert found[0] == found[4]
    assert len(set(found)) == 7


def test_too_few_groups_or_moments(tmp_path: Path) -> None:
    write(tmp_path, user=["a", "b"] * (N // 2), day=["2025-01-01"] * N)
    told = refused(tmp_path, group="user")
    assert told.startswith("data.group: the column has 2 groups, and train, validation and test need at least 3, one")
    assert load(tmp_path, group="user", test=0).rows["test"] == 0
    assert refused(tmp_path, time="day").startswith("data.time: the column has 1 different moments, and train,")


def test_a_class_that_training_would_not_see(tmp_path: Path) -> None:
    write(tmp_path, bought=["no"] * 60 + ["yes"] * 30, day=[f"20{i + 10}-01-01" for i in range(N)])
    told = refused(tmp_path, time="day")
    assert told.startswith("data.time: class 'yes' has no row in the training part: it comes later in time.")
