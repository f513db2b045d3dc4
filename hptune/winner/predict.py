"""predict: the winner's answers for samples that no training saw, as CSV or JSON, one line a sample.

Everything goes to a temporary file first: a sample that can't be read leaves nothing half printed.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from hptune.base.errors import printable
from hptune.base.files import output_file
from hptune.run.rundir import RunPaths

if TYPE_CHECKING:
    from hptune.training.export.answers import Answer

PREDICTION = "prediction"
"""What stands first in a line."""

_NO_PROBABILITIES = (
    "the model gives numbers from {:.3g} to {:.3g} for the classes, which are no probabilities; {}. "
    "If its loss takes logits, train it with an activation (sigmoid, softmax) and a loss of probabilities"
)

FILE = ("file",)
"""What stands last in a line for a picture."""


def predict(
    run: RunPaths,
    file: Path,
    output: Path | TextIO,
    *,
    as_json: bool = False,
    trust: Sequence[str] = (),
    noted: Callable[[str], None] = lambda _: None,
) -> int:
    """Write an answer for every sample of `file`; how many could not be given (they have missing values).

    output: a file, which is there whole or not at all; or a stream. trust: types, `module:Class`, that a scikit-learn
    model may hold beside the known ones. noted: called with each note on the answers.
    Raises SpecError where the run has no best model, or for samples that it can't take.
    """
    from hptune.training.export.answers import answers, columns, no_probabilities
    from hptune.training.export.predictor import open_predictor
    from hptune.training.export.signature import any_of, read_signature
    from hptune.training.export.unseen import read_unseen

    signature = read_signature(run)
    kind = "outputs" if signature.labels is None else "scores" if any_of(signature.margins) else "probabilities"
    pieces = read_unseen(signature, file)
    predictor = open_predictor(run, signature, trust)
    names = columns(signature, predictor.width)
    unknown = 0
    strange: list[tuple[float, float]] = []

    def answered() -> Iterator[tuple[Answer, list[str]]]:
        nonlocal unknown
        for piece in pieces:
            unknown += int((~piece.known).sum())
            files = [[file] for file in piece.files] or [[] for _ in piece.known]
            outputs = predictor(piece.samples)
            strange.extend(filter(None, [no_probabilities(signature, outputs)]))
            yield from zip(answers(signature, outputs, piece.known), files, strict=True)

    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as aside:
        if as_json:
            _write_json(aside, answered(), names=names, kind=kind)
        else:
            _write_csv(aside, answered(), names)
        aside.seek(0)
        _hand_over(aside, output)
    if strange:
        low, high = min(low for low, _ in strange), max(high for _, high in strange)
        noted(_NO_PROBABILITIES.format(low, high, _decided(signature.task, predictor.width)))
    return unknown


def _decided(task: str, width: int) -> str:
    """How a prediction is chosen, as a clause."""
    if task == "labels":
        return "labels above 0.5 are predicted"
    return "the second class is predicted above 0.5" if width == 1 else "the class of the greatest is predicted"


def _write_csv(file: TextIO, answered: Iterable[tuple[Answer, list[str]]], names: list[str]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    lines = iter(answered)
    first = next(lines, None)
    last = FILE if first is not None and first[1] else ()
    writer.writerow([PREDICTION, *_beside((PREDICTION, *last), names), *last])
    for answer, files in chain([] if first is None else [first], lines):
        numbers = [_plain(number) for number in answer.numbers] or [""] * len(names)
        writer.writerow([_spelled(answer.prediction), *numbers, *files])


def _write_json(file: TextIO, answered: Iterable[tuple[Answer, list[str]]], *, names: list[str], kind: str) -> None:
    file.write("[")
    for i, (answer, files) in enumerate(answered):
        behind = {kind: dict(zip(names, answer.numbers, strict=True))} if answer.numbers else {}
        line = {PREDICTION: answer.prediction, **behind, **dict(zip(FILE, files, strict=False))}
        file.write(",\n " if i else "")
        file.write(json.dumps(line, ensure_ascii=False))
    file.write("]\n")


def _beside(taken: Sequence[str], names: Sequence[str]) -> list[str]:
    """The names of columns; one that is `taken` has as many `_` behind it as make it a name of its own.

    >>> _beside(["prediction", "file"], ["prediction", "prediction_", "no"])
    ['prediction__', 'prediction_', 'no']
    """
    columns: list[str] = []
    for name in names:
        own = name
        while own in taken or (own != name and own in (*names, *columns)):
            own += "_"
        columns.append(own)
    return columns


def _spelled(prediction: Any) -> str:
    """A label as it is, a number as short as it is exact; nothing where there is none.

    Several are a line of CSV with ";" between them: one that holds a ";" or a quote stands in quotes.

    >>> _spelled("a;b"), _spelled(["a", "b"]), _spelled(["a;b", 'the "c" too'])
    ('a;b', 'a;b', '"a;b";"the ""c"" too"')
    """
    if isinstance(prediction, list):
        line = io.StringIO()
        csv.writer(line, delimiter=";").writerow([_spelled(part) for part in prediction])
        return line.getvalue().removesuffix("\r\n")
    if prediction is None:
        return ""
    return _plain(prediction) if isinstance(prediction, float) else str(prediction)


def _plain(number: float) -> str:
    return repr(number).removesuffix(".0")


def _hand_over(aside: TextIO, output: Path | TextIO) -> None:
    if not isinstance(output, Path) and output.isatty():
        output.writelines(printable(line, keep="\n\t") for line in aside)  # classes may be a stranger's
        return
    if not isinstance(output, Path):
        shutil.copyfileobj(aside, output)
        return
    with output_file(output) as file:
        file.writelines(line.encode() for line in aside)
