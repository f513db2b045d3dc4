"""What is published: the sdist is the project, its tests included; the wheel is the package with all that it reads."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

import hptune

ROOT = Path(__file__).parents[1]
FOLDERS = ("hptune", "benchmarks", "configs", "docs", "scripts", "tests")
FILES = ("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "MANIFEST.in", "Makefile", "README.md", "pyproject.toml")


@dataclass(frozen=True)
class Built:
    """The names of the files in either archive, and what the wheel tells of itself."""

    sdist: set[str]
    wheel: set[str]
    metadata: Message


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy without what earlier builds left, of which setuptools would take its list of files."""
    folder = tmp_path_factory.mktemp("project")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.rmtree(folder / "configs" / "examples" / "data", ignore_errors=True)  # made by a script, in no commit
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def built(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(project)]
    subprocess.run(command, check=True, capture_output=True)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    with tarfile.open(sdist) as archive:
        inside = {member.name.partition("/")[2] for member in archive if member.isfile()}
    with zipfile.ZipFile(wheel) as archive_of_wheel:
        names = set(archive_of_wheel.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        return Built(inside, names, message_from_bytes(archive_of_wheel.read(metadata)))


def files(project: Path, *folders: str) -> set[str]:
    paths = [path for name in folders for path in (project / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(project)) for path in paths}


def test_the_sdist_holds_the_project(project: Path, built: Built) -> None:
    assert {*files(project, *FOLDERS), *FILES} - built.sdist == set()


def test_the_wheel_holds_the_package_with_all_that_it_reads(project: Path, built: Built) -> None:
    assert {name for name in built.wheel if ".dist-info/" not in name} == files(project, "hptune")


def test_what_it_says_of_itself(built: Built) -> None:
    assert built.metadata["Author"] == "The hptune developers"
    assert built.metadata["Version"] == hptune.__version__
    assert built.metadata["License-Expression"] == "MIT"
    assert "Typing :: Typed" in built.metadata.get_all("Classifier", [])


def test_the_package_itself_has_no_name_but_its_version() -> None:
    assert hptune.__all__ == ("__version__",)
