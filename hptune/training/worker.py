"""Runs segments: by the trainer for the experiment's kind of model, made when first needed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hptune.base import files, surroundings
from hptune.base.errors import HptuneError, KeyPath, RunError, SegmentFailed, SpecError, spell_path
from hptune.base.generators import begun
from hptune.base.rows import load_row
from hptune.base.seeds import derive
from hptune.base.stopwatch import counts
from hptune.base.trial import Segment, SegmentResult
from hptune.base.user_code import is_own, load_object, packages_behind, sources
from hptune.experiment.experiment import Experiment
from hptune.experiment.reading.code_names import modules_named, modules_of_strategy
from hptune.experiment.reading.marks import read
from hptune.run.circumstances import PACKAGES
from hptune.run.rundir import RunPaths
from hptune.training.data.store.shared import SharedData
from hptune.training.reasons import LayerError, is_fatal, reason
from hptune.training.trainers.trainer import OnEpoch, Trainer

_KEPT = 2**16
"""The most characters of a traceback that are kept on the disk."""


class Worker:
    """Runs the segments of one experiment in this process.

    folder: the YAML file's; relative paths and users' modules are looked for there.
    run: where states and models are written. shared: where workers hand the data over; None for a single worker.
    """

    def __init__(self, experiment: Experiment, folder: Path, run: RunPaths, shared: SharedData | None = None) -> None:
        self._experiment = experiment
        self._folder = folder.absolute()  # the code may change the process's folder
        self._run = run.anchored()
        self._shared = shared
        self._trainer: Trainer | None = None

    @counts("rest")
    def run(self, segment: Segment, on_epoch: OnEpoch | None = None) -> SegmentResult:
        """Train a segment, or probe.

        What the code changes in the process (its folder, streams, signals, …) is put back. Raises `SegmentFailed` for
        anything that training raises, `SpecError` from a probe, and `RunError` where the user's code raises
        KerasTuner's FatalError, which ends the search.
        """
        process = os.getpid()

        def pass_on(segment: Segment, epochs: int, metrics: Mapping[str, float]) -> None:
            surroundings.end_copy_of(process)
            if on_epoch is not None:
                on_epoch(segment, epochs, metrics)

        try:
            trainer = self.trainer()
            with surroundings.kept():
                result = trainer.run(segment, pass_on)
            return self._with_code(result) if segment.purpose == "probe" else result
        except (HptuneError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self._keep_traceback(segment)
            message = reason(error, self._folder)
            if isinstance(error, LayerError):
                message = f"{self._in_yaml(error.path)}: {message}"
            if is_fatal(error):
                remedy = "Fix it and run the same command again: what was finished is kept"
                raise RunError(f"the code has ended the run: {message}. {remedy}.") from error
            raise SegmentFailed(message) from error

    def _with_code(self, probed: SegmentResult) -> SegmentResult:
        """The probe's result, with the fingerprints of the code that the YAML names, and the packages that it needs."""
        named = modules_named(self._experiment)
        others = modules_of_strategy(self._experiment)  # which an inline executor's process has loaded too
        code = sources(self._folder, named=named, but=others) | self._files()
        packages = packages_behind(self._folder, named=named, but=others)
        facts = {name: entries for name, entries in (("code", code), (PACKAGES, packages)) if entries}
        return replace(probed, facts={**probed.facts, **facts})

    def _files(self) -> dict[str, str]:
        """The digests of the model's files, by their names in the YAML."""
        digests = {}
        for name in self._experiment.model.files:
            with (self._folder / name).open("rb") as file:
                digests[name] = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        return digests

    @counts("start")
    def trainer(self) -> Trainer:
        """The trainer, made at the first call."""
        if self._trainer is None:
            make = load_row("hptune.training.trainers", self._experiment.model.trainer)
            self._trainer = make(self._experiment, self._folder, self._run, self._shared)
            self._load_named()
        assert self._trainer is not None, "it was made"
        return self._trainer

    def _load_named(self) -> None:
        """Load the modules that the YAML names for some values, in a fixed order: what one sets holds for all trials.

        The modules of the model and of the data are loaded where they are needed. A module that can't be loaded fails
        the trial that needs it.
        """
        data = self._experiment.data
        needed = [self._experiment.model.code, data.function if data is not None else None]
        others = modules_named(self._experiment) - {one.partition(":")[0] for one in needed if isinstance(one, str)}
        for name in sorted(others):
            if is_own(name, self._folder):
                with contextlib.suppress(SpecError), begun(derive(self._experiment.seed, "import", name)):
                    load_object(f"{name}:__name__", self._folder, ())

    def _in_yaml(self, path: KeyPath) -> str:
        """A key path with its line in the YAML: in the user's file, if that still has the run's text."""
        try:
            text = files.read_bytes(self._run.spec, below=self._run.runs).decode()
            beside = sorted([*self._folder.glob("*.yaml"), *self._folder.glob("*.yml")])
            file = next((one.name for one in beside if _holds(one, text)), self._run.spec.name)
        except (OSError, UnicodeDecodeError, RunError):
            return spell_path(path)
        return f"{spell_path(path)} ({file}:{read(text).spot(path)[0]})"

    def _keep_traceback(self, segment: Segment) -> None:
        try:
            text = traceback.format_exc()
        except Exception as odd:  # noqa: BLE001  # what the user's code raises may be built as it likes
            text = f"the traceback can't be written: {type(odd).__name__}"
        if len(text) > _KEPT:  # a message may hold a whole array
            text = f"{text[: _KEPT // 2]}\n… {len(text) - _KEPT:,} characters …\n{text[-_KEPT // 2 :]}"
        files.write_whole(self._run.trial_error(segment.trial), text, below=self._run.runs)


def _holds(file: Path, text: str) -> bool:
    """Whether a file holds this text; pipes and other special files are not read."""
    try:
        return file.is_file() and file.read_text(encoding="utf-8") == text
    except (OSError, UnicodeDecodeError):
        return False
