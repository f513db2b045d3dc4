"""The commands: parse → load → call → render. The concrete classes are wired here; everything heavy is imported inside.

Results go to stdout, progress and diagnostics to stderr. With --json, stdout holds JSON alone.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hptune import __version__
from hptune.base.errors import RunError, SpecError, printable

if TYPE_CHECKING:
    from hptune.experiment.reading.load import LoadedExperiment
    from hptune.run.rundir import RunPaths

app = typer.Typer(
    name="hptune",
    help="Tune Keras models from one YAML file.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"max_content_width": 120, "help_option_names": ["-h", "--help"]},  # else all is cut at 80
)

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="The experiment's YAML file.")]
Run = Annotated[str | None, typer.Option("--run", metavar="NAME", help="The run; the newest unless given.")]
RunsDir = Annotated[
    Path, typer.Option("--runs-dir", metavar="DIR", envvar="HPTUNE_RUNS_DIR", help="The folder that holds the runs.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set path.to.key of the YAML; may be repeated."),
]
RUNS = Path("runs")


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
    debug: Annotated[  # noqa: ARG001  # taken out by __main__, where errors are told; named here for --help
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """Tune Keras models from one YAML file."""
    if version:
        _say(__version__)
        raise typer.Exit


@app.command()
def init(
    data: Annotated[Path | None, typer.Option("--data", metavar="FILE", help="A table to fit it to.")] = None,
    target: Annotated[str | None, typer.Option("--target", metavar="COLUMN", help="The column to predict.")] = None,
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="Where to write it.")] = Path("config.yaml"),
    as_json: Json = False,
) -> None:
    """Write a commented YAML file to begin with."""
    from hptune.starter import write_starter

    write_starter(output, data, target)
    _say_json({"written": str(output)}) if as_json else _say(f"wrote {output}; next: hptune validate {output}")


@app.command()
def validate(config: Config, sets: Sets = None, as_json: Json = False) -> None:
    """Check an experiment, without running anything of it."""
    loaded = _load(config, sets, remarks=True)
    name, notes = loaded.experiment.name, {"notes": loaded.remarks} if loaded.remarks else {}
    _say_json({"valid": True, "name": name, **notes}) if as_json else _say(f"{config}: valid (run name: {name})")


@app.command()
def plan(
    config: Config,
    sets: Sets = None,
    probe: Annotated[bool, typer.Option("--probe", help="Load the data and the model too: runs user code.")] = False,
    prove: Annotated[
        bool, typer.Option("--prove", help="Train the defaults for an epoch, compiled and by Keras's fit, and compare.")
    ] = False,
    as_json: Json = False,
) -> None:
    """The dry run: the size of the space, every default, trials × epochs, the learning rate drawn."""
    from hptune.executors.choose import thrown_away
    from hptune.reports.plan import plan_data, plan_lines
    from hptune.reports.proof import proof, proof_lines

    loaded = _load(config, sets, remarks=True)
    proved: dict[str, Any] | None = None
    with _placed(loaded):
        if prove:
            with thrown_away(loaded.experiment, loaded.folder) as executor:
                proved = proof(executor, loaded.experiment)
        facts = _probed(loaded) if probe else None
        planned = plan_data(loaded.experiment, facts, loaded.folder)
    if as_json:
        _say_json({**planned, **({"proof": proved} if proved is not None else {})})
    else:
        _say("\n".join([*plan_lines(planned, facts), *(["", *proof_lines(proved)] if proved is not None else [])]))
    if proved is not None and not proved["equal"]:
        raise typer.Exit(1)


@app.command("lr-range")
def lr_range(
    config: Config,
    sets: Sets = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE.png", help="The drawing; NAME-lr-range.png unless given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train once over rising learning rates, and suggest the range to search."""
    from hptune.executors.choose import thrown_away
    from hptune.reports.lr_range import can_draw, range_lines, range_test, write_png

    loaded = _load(config, sets)
    draws = can_draw(asked=output is not None)
    with _placed(loaded), thrown_away(loaded.experiment, loaded.folder) as executor:
        result = range_test(executor, loaded.experiment)
    _say_json(result) if as_json else _say("\n".join(range_lines(result, loaded.experiment)))
    if draws:
        path = output or Path(f"{loaded.experiment.name}-lr-range.png")
        write_png(result, path)
        _note(f"drawn in {path}")
    else:
        _note("not drawn as a picture: pip install 'hptune[plots]'")


@app.command()
def search(
    config: Config,
    sets: Sets = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="How many workers to use.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Move an old run of that name aside.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse where code or versions have changed.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Tell at the end where the time went.")] = False,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Run the search. The same command again resumes it, or continues it when its budget was raised."""
    from hptune.base.stopwatch import WATCH
    from hptune.executors.choose import executor_for
    from hptune.reports.compare import summary
    from hptune.reports.live import view
    from hptune.reports.profile import show_profile
    from hptune.run.lock import move_aside
    from hptune.run.rundir import RunPaths
    from hptune.search.tuner import Request, search, search_command
    from hptune.strategies.choose import choose, load_library
    from hptune.strategies.strategy import trial_limit
    from hptune.trackers.track import Watches, trackers

    loaded = _load(config, [*(sets or []), *([f"execution.workers={workers}"] if workers is not None else [])])
    experiment, folder = loaded.experiment, loaded.folder
    paths = RunPaths(runs_dir / experiment.name)
    WATCH.asked = profile
    if fresh and (aside := move_aside(paths)) is not None:
        _note(f"moved the old run to {aside}")
    command = search_command(config, sets, workers=workers, runs_dir=runs_dir, strict=strict)
    with (
        _placed(loaded),
        view(quiet=quiet) as shown,
        nullcontext(Watches(shown, trackers(experiment, paths))) as watch,
        closing(executor_for(experiment, folder, paths, watch.epoch, trials=trial_limit(experiment))) as at,
    ):
        record = search(
            Request(experiment, loaded.text, folder, command, lambda: load_library(experiment), strict),
            paths,
            at,
            make_strategy=lambda filled, space: choose(filled, space, folder=folder),
            watch=watch,
        )
    if quiet:
        _note(*watch.left_out)
    if as_json:
        _say_json({"run": paths.name, **summary(record)})
    else:
        _show_search(paths, record)
    if profile:
        show_profile(WATCH, len(record.history.trials))


@app.command()
def trials(run: Run = None, runs_dir: RunsDir = RUNS, as_json: Json = False) -> None:
    """List every trial, in order."""
    from hptune.reports.leaderboard import objective_name, rows

    record = _replay(run, runs_dir)[1]
    _show_rows(rows(record.history), objective_name(record.history), as_json=as_json)


@app.command()
def best(
    top: Annotated[
        int | None, typer.Option("--top", min=1, metavar="N", help="How many; 10, or a whole front.")
    ] = None,
    run: Run = None,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """The leaderboard: the best trials, the best first; with several objectives, the Pareto front."""
    from hptune.reports.leaderboard import best_rows, front_left_out, objective_name, shown_of

    history = _replay(run, runs_dir)[1].history
    top = shown_of(history) if top is None else top
    rows = best_rows(history, max(top, 2))
    _show_rows(rows[:top], objective_name(history), as_json=as_json, best_two=rows[:2])
    _note(*front_left_out(history, top))


@app.command("train-best")
def train_best(
    formats: Annotated[
        list[str] | None,
        typer.Option("--export", metavar="FORMAT", help="Also as savedmodel, tflite or onnx; may be repeated."),
    ] = None,
    run: Run = None,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Train the winner in full, measure it on the test part beside the baseline, and write best/."""
    from hptune.executors.choose import executor_for
    from hptune.reports.console import stdout, winner_lines, winner_table
    from hptune.reports.live import opening_lines, view
    from hptune.trackers.track import Watches, trackers
    from hptune.winner.formats import check_formats
    from hptune.winner.train_best import printed, train_best

    paths, record = _replay(run, runs_dir)
    head = record.head
    check_formats(formats or [], head.experiment)
    _note(*opening_lines(record))
    with view(quiet=False) as shown:
        watch = Watches(shown, trackers(head.experiment, paths))
        with closing(executor_for(head.experiment, head.folder, paths.aside, watch.epoch)) as executor:
            result, exported, refused = train_best(paths, executor, head, watch=watch, formats=formats or [])
    if as_json:
        _say_json({**printed(result), **({"exported": exported} if formats else {})})
    else:
        stdout().print(winner_table(result))
        _say("\n".join(["", *winner_lines(result), *(f"{name}: {path}" for name, path in exported.items())]))
    if refused:
        raise RunError("\n".join(refused))


@app.command()
def predict(
    file: Annotated[Path, typer.Option("--input", metavar="FILE", help="Raw samples: as in training.")],
    output: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Where to; else stdout.")] = None,
    trust: Annotated[
        list[str] | None,
        typer.Option("--trust", metavar="MODULE:CLASS", help="Let model.skops hold this type; may be repeated."),
    ] = None,
    run: Run = None,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """The winner's predictions for raw samples, as CSV: the prediction, then a column a class or output."""
    from hptune.run.rundir import find_run
    from hptune.winner.predict import predict

    paths, to = find_run(runs_dir, run), output if output is not None else sys.stdout
    left_out = predict(paths, file, to, as_json=as_json, trust=trust or [], noted=_note)
    if left_out:
        _note(f"samples without a prediction, as data.missing: drop has it: {left_out}")
    if output is not None:
        _note(f"written to {output}")


@app.command()
def reproduce(
    trial: Annotated[int | None, typer.Option("--trial", metavar="N", help="The trial to train again.")] = None,
    alone: Annotated[int | None, typer.Option("--alone", metavar="N", help="The same in a process of its own.")] = None,
    tolerance: Annotated[float, typer.Option("--tolerance", min=0, help="The largest difference to pass.")] = 0.0,
    run: Run = None,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Train a trial again and compare its curves with the journal's; exit code 1 where they differ."""
    from hptune.executors.choose import thrown_away
    from hptune.winner.reproduce import chosen_trial, reproduce, result_lines

    number, record = chosen_trial(trial, alone), _replay(run, runs_dir)[1]
    with thrown_away(record.head.experiment, record.head.folder, alone=alone is not None) as executor:
        result = reproduce(record, number, executor, tolerance=tolerance, alone=alone is not None)
    _say_json(result) if as_json else _say("\n".join(result_lines(result)))
    if not result["within"]:
        raise typer.Exit(1)


@app.command()
def report(
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE.html", help="Where to; report.html of the run unless given."),
    ] = None,
    run: Run = None,
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Write one HTML file that shows the run: its trials, curves and hyperparameters.

    It needs nothing else, and loads nothing; the winner stands beside the baseline where train-best was run.
    """
    from hptune.base.files import output_file, whole_file
    from hptune.reports.html import html
    from hptune.reports.report import make_report
    from hptune.run.rundir import size_bytes

    paths, record = _replay(run, runs_dir)
    path = output if output is not None else paths.report
    page = html(make_report(record, name=paths.name, size_bytes=size_bytes(paths)))
    with whole_file(path, below=paths.runs) if output is None else output_file(path) as file:
        file.write(page.encode("utf-8", "backslashreplace"))
    _say_json({"written": str(path)}) if as_json else _say(f"wrote {path}")


@app.command()
def runs(runs_dir: RunsDir = RUNS, as_json: Json = False) -> None:
    """The runs in the folder, the newest first."""
    from hptune.reports.compare import run_row
    from hptune.reports.console import runs_table, stdout
    from hptune.run.rundir import list_runs

    rows = [run_row(paths) for paths in list_runs(runs_dir)]
    if as_json:
        _say_json(rows)
    elif rows:
        stdout().print(runs_table(rows))
    else:
        _note(f"no run in {runs_dir}/ yet; `hptune search CONFIG` makes one")


@app.command()
def compare(
    run_a: Annotated[str, typer.Argument(metavar="RUN")],
    run_b: Annotated[str, typer.Argument(metavar="RUN")],
    runs_dir: RunsDir = RUNS,
    as_json: Json = False,
) -> None:
    """Two runs side by side: their best trials, and where their experiments differ."""
    from hptune.reports.compare import comparison
    from hptune.reports.console import comparison_tables, stdout
    from hptune.run.rundir import find_run

    compared = comparison(find_run(runs_dir, run_a), find_run(runs_dir, run_b))
    if as_json:
        _say_json(compared)
    else:
        stdout().print(*comparison_tables(compared), sep="\n\n")


@app.command()
def schema() -> None:
    """The JSON Schema of the YAML, for editors."""
    from hptune.experiment.reading.schema import json_schema

    _say(json.dumps(json_schema(_note), indent=2, ensure_ascii=False))


# --- what the commands share ----------------------------------------------------------------------------------------


def _load(config: Path, sets: list[str] | None, *, remarks: bool = False) -> LoadedExperiment:
    from hptune.experiment.reading.load import load

    loaded = load(config, sets or [])
    for remark in loaded.remarks if remarks else ():
        _note(f"note: {remark}")
    return loaded


@contextmanager
def _placed(loaded: LoadedExperiment) -> Iterator[None]:
    """Problems that are found after loading get their place in the YAML file too."""
    try:
        yield
    except SpecError as error:
        raise SpecError(*map(loaded.locate, error.problems)) from error


def _probed(loaded: LoadedExperiment) -> dict[str, Any]:
    """The probe's facts."""
    from hptune.executors.choose import thrown_away
    from hptune.search.probing import probe

    with thrown_away(loaded.experiment, loaded.folder) as executor:
        return probe(executor, epochs=1)


def _replay(run: str | None, runs_dir: Path) -> tuple[RunPaths, Any]:
    from hptune.run.record import replay
    from hptune.run.rundir import find_run

    paths = find_run(runs_dir, run)
    record = replay(paths)
    gc.freeze()  # it lives as long as the command: nothing looks for garbage in 10,000 trials again, at the end neither
    return paths, record


def _show_rows(
    rows: list[dict[str, Any]], metric: str, *, as_json: bool, best_two: list[dict[str, Any]] | None = None
) -> None:
    """rows: the best first where `best_two` (the two best of all) is given."""
    if as_json:
        _say_json(rows)
        return
    from hptune.reports.console import finalist_lines, stdout, trials_table

    if rows:
        stdout().print(trials_table(rows, metric, best_first=best_two is not None))
        for line in finalist_lines(best_two or []):
            _say(line)
    else:
        _note("no trial to show yet")


def _show_search(paths: RunPaths, record: Any) -> None:
    from hptune.reports.console import stdout, titled, trials_table
    from hptune.reports.leaderboard import best_rows, front_left_out, objective_name

    table = trials_table(best_rows(record.history, 3), objective_name(record.history), best_first=True)
    stdout().print(titled(f"{paths.name}: {record.ended}", table))
    _note(*front_left_out(record.history, 3), f"next: hptune train-best --run {paths.name}")


def _say(text: str) -> None:
    sys.stdout.write(printable(text, keep="\n\t") + "\n")


def _say_json(value: Any) -> None:
    from hptune.reports.leaderboard import plain_json

    sys.stdout.write(json.dumps(plain_json(value), ensure_ascii=False, allow_nan=False) + "\n")


def _note(*lines: str) -> None:
    for text in lines:
        sys.stderr.write(printable(text, keep="\n\t") + "\n")
