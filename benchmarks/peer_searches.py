"""The peers' searches, as their documentation shows them, each run in a process of its own; and the yardstick.

    python -m benchmarks.peer_searches TOOL JOB.json

A search goes on until it is killed or has made `trials` trials. It tells of a trial when its score is known, by one
line of JSON: {"time", "trial", "epochs", "score", "structure"}; and of its beginning, by {"time", "begun": true}.
Everything that the documentation calls faster is done: `verbose=0`, one evaluation an epoch, no needless logs; and
nothing more than that: threads, checkpoints and callbacks are what the tool or Keras sets by itself.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from benchmarks.workloads import WORKLOADS, Domain, Values, Workload, model_of, structure_of


@dataclass(frozen=True, slots=True)
class Job:
    """One search. parts: an .npz with x_train, y_train, x_val, y_val. told: where lines are appended. spec: hptune's
    YAML of the same work, for the yardstick. trials: the most; epochs: of each trial."""

    workload: str
    seed: int
    trials: int
    epochs: int
    parts: str
    told: str
    spec: str

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @property
    def work(self) -> Workload:
        return next(one for one in WORKLOADS if one.name == self.workload)

    def tell(self, **line: Any) -> None:
        """Append a line, whole, whatever else writes there."""
        text = json.dumps({"time": time.time(), **line}) + "\n"
        fd = os.open(self.told, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        os.write(fd, text.encode())
        os.close(fd)

    def tell_trial(self, number: int, values: Values, scores: list[float]) -> float:
        """A trial's score, the best of its epochs, after it was told."""
        score = max(map(float, scores))
        self.tell(trial=number, epochs=len(scores), score=score, structure=structure_of(values))
        return score


class Samples:
    """The arrays of a job, and training on them as anyone would with Keras."""

    def __init__(self, job: Job) -> None:
        with np.load(job.parts) as parts:
            self.train = parts["x_train"], parts["y_train"]
            self.validation = parts["x_val"], parts["y_val"]
        self._job = job

    def model(self, values: Values) -> Any:
        return model_of(self._job.work.layers, values, self.train[0].shape[1:])

    def fit(self, model: Any, values: Values, callbacks: list[Any]) -> list[float]:
        """Train a model in full; its validation accuracy after each epoch."""
        history = model.fit(
            *self.train,
            batch_size=values["batch_size"],
            epochs=self._job.epochs,
            validation_data=self.validation,
            callbacks=callbacks,
            verbose=0,
        )
        return list(history.history["val_accuracy"])


# --- KerasTuner -----------------------------------------------------------------------------------------------------


def kerastuner(job: Job) -> None:
    """RandomSearch over a HyperModel whose `fit` takes the batch size (keras.io/guides/keras_tuner/custom_tuner)."""
    import keras_tuner

    class Work(keras_tuner.HyperModel):  # type: ignore[misc]  # KerasTuner has no types
        trials = 0

        def build(self, hp: Any) -> Any:
            return samples.model(self._values(hp))

        def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
            history = model.fit(*args, batch_size=self._values(hp)["batch_size"], **kwargs)
            job.tell_trial(self.trials, self._values(hp), history.history["val_accuracy"])
            self.trials += 1
            return history

        def _values(self, hp: Any) -> Values:
            return {name: _for_keras_tuner(hp, name, domain) for name, domain in job.work.space.items()}

    samples = Samples(job)
    tuner = keras_tuner.RandomSearch(
        Work(),
        objective="val_accuracy",
        max_trials=job.trials,
        seed=job.seed + 1,  # 0 is drawn at random there
        directory=str(Path(job.told).parent),
        project_name="kerastuner",
    )
    job.tell(begun=True)
    tuner.search(*samples.train, epochs=job.epochs, validation_data=samples.validation, verbose=0)


def _for_keras_tuner(hp: Any, name: str, domain: Domain) -> Any:
    if domain["type"] == "choice":
        return hp.Choice(name, domain["values"])
    if domain["type"] == "int":
        return hp.Int(name, domain["min"], domain["max"], step=domain.get("step", 1))
    return hp.Float(name, domain["min"], domain["max"], sampling="log" if domain.get("log") else "linear")


# --- Optuna ---------------------------------------------------------------------------------------------------------


def optuna_tpe(job: Job) -> None:
    """TPE around Keras's `fit`."""
    import optuna

    _optuna(job, optuna.pruners.NopPruner())


def optuna_hyperband(job: Job) -> None:
    """TPE, and the Hyperband pruner asked after each epoch."""
    import optuna

    _optuna(job, optuna.pruners.HyperbandPruner(min_resource=1, max_resource=job.epochs, reduction_factor=3))


def _optuna(job: Job, pruner: Any) -> None:
    import keras
    import optuna

    class Prune(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        """What optuna-integration's KerasPruningCallback does, for Keras 3."""

        def __init__(self, trial: Any) -> None:
            super().__init__()
            self.trial = trial
            self.scores: list[float] = []

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.scores.append(logs["val_accuracy"])
            self.trial.report(logs["val_accuracy"], step=epoch)
            if self.trial.should_prune():
                raise optuna.TrialPruned

    def objective(trial: Any) -> float:
        keras.backend.clear_session()  # as Optuna's example for Keras does: memory would grow
        values = {name: _for_optuna(trial, name, domain) for name, domain in job.work.space.items()}
        prune = Prune(trial)
        try:
            scores = samples.fit(samples.model(values), values, [prune] if prunes else [])
        except optuna.TrialPruned:
            job.tell_trial(trial.number, values, prune.scores)
            raise
        return job.tell_trial(trial.number, values, scores)

    prunes = not isinstance(pruner, optuna.pruners.NopPruner)
    samples = Samples(job)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=job.seed)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    job.tell(begun=True)
    study.optimize(objective, n_trials=job.trials)


def _for_optuna(trial: Any, name: str, domain: Domain) -> Any:
    if domain["type"] == "choice":
        return trial.suggest_categorical(name, domain["values"])
    if domain["type"] == "int":
        return trial.suggest_int(name, domain["min"], domain["max"], step=domain.get("step", 1))
    return trial.suggest_float(name, domain["min"], domain["max"], log=domain.get("log", False))


# --- Ray Tune -------------------------------------------------------------------------------------------------------


def ray_asha(job: Job) -> None:
    """Random points under Ray Tune's ASHA, a core a trial; workers are kept from trial to trial (`reuse_actors`)."""
    import ray  # type: ignore[import-not-found,unused-ignore]
    from ray import tune

    class Tell(tune.Callback):  # type: ignore[misc]  # Ray may be missing
        trials = 0

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:  # noqa: ARG002
            epochs, score = trial.last_result["training_iteration"], trial.metric_analysis["val_accuracy"]["max"]
            job.tell(trial=self.trials, epochs=epochs, score=score, structure=structure_of(trial.config))
            self.trials += 1

    folder = Path(job.told).parent / "ray"
    ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR", _temp_dir=str(folder))
    scheduler = tune.schedulers.ASHAScheduler(max_t=job.epochs, grace_period=1, reduction_factor=3)
    tuner = tune.Tuner(
        tune.with_parameters(_ray_trial, job=job),
        param_space={name: _for_ray(domain) for name, domain in job.work.space.items()},
        tune_config=tune.TuneConfig(
            metric="val_accuracy", mode="max", scheduler=scheduler, num_samples=job.trials, reuse_actors=True
        ),
        run_config=tune.RunConfig(storage_path=str(folder / "results"), callbacks=[Tell()], verbose=0),
    )
    job.tell(begun=True)
    failed = tuner.fit().errors
    if failed:
        raise failed[0]


def _ray_trial(config: dict[str, Any], *, job: Job) -> None:
    import keras
    from ray import tune

    class Report(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002  # Keras's signature
            tune.report({"val_accuracy": logs["val_accuracy"]})  # the trial ends here where ASHA stops it

    keras.backend.clear_session()
    samples = Samples(job)
    samples.fit(samples.model(config), config, [Report()])


def _for_ray(domain: Domain) -> Any:
    from ray import tune

    if domain["type"] == "choice":
        return tune.choice(domain["values"])
    if domain["type"] == "int":
        return tune.choice(list(range(domain["min"], domain["max"] + 1, domain.get("step", 1))))
    return (tune.loguniform if domain.get("log") else tune.uniform)(domain["min"], domain["max"])


# --- the yardstick --------------------------------------------------------------------------------------------------


def arithmetic(job: Job) -> None:
    """What one epoch, training and validation, takes where nothing but the graph runs: a line for each structure.

    Told is the fastest of the epochs after the first, in seconds, of the whole epoch as one compiled function over
    samples in memory on one thread (hptune's own).
    """
    from hptune.base.trial import Segment
    from hptune.experiment.reading.load import load
    from hptune.run.rundir import RunPaths
    from hptune.training.worker import Worker

    spec = Path(job.spec)
    worker = Worker(load(spec, []).experiment, spec.parent, RunPaths(spec.parent / "yardstick"))
    job.tell(begun=True)
    for number, values in enumerate(job.work.structures()):
        ends: list[float] = []
        worker.run(Segment(number, values, to_epoch=job.epochs), lambda *_, at=ends: at.append(time.perf_counter()))
        seconds = min(after - before for before, after in pairwise(ends))
        job.tell(structure=structure_of(values), epoch_s=seconds)


Search: TypeAlias = Callable[[Job], None]

SEARCHES: dict[str, Search] = {
    search.__name__.replace("_", "-"): search
    for search in (kerastuner, optuna_tpe, optuna_hyperband, ray_asha, arithmetic)
}


def main() -> None:
    tool, path = sys.argv[1:]
    SEARCHES[tool](Job(**json.loads(Path(path).read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
