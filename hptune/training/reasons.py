"""Why training failed, in one line: what was raised, and where in the user's own code."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from hptune.base.errors import KeyPath, message_of
from hptune.base.own_files import is_own_file
from hptune.base.user_code import lacks_its_place, nul_in_code

_IN_TEXT = re.compile(r'File "(?P<file>[^"\n]+)", line (?P<line>\d+)')
"""A place in the code as in tracebacks, which TensorFlow writes into its messages."""

_BY_AUTOGRAPH = "in user code:"
"""The beginning of a message raised while TensorFlow traced the user's code: the places follow, then the message."""

_OF_A_NODE = "Detected at node"
"""What precedes the places of a graph's operation."""

_MOST = 300
"""The most characters of a message that are shown."""


class LayerError(Exception):
    """A layer of the YAML can't be made, or can't take the output of the layers before it. Its cause says why.

    path: the layer's place in the YAML. layer: its name and arguments.
    """

    def __init__(self, path: KeyPath, layer: str) -> None:
        super().__init__(path, layer)
        self.path, self.layer = path, layer


_DEEPEST = 100_000
"""Groups of exceptions inside each other that are looked into."""


def reason(error: BaseException, folder: Path | None = None) -> str:
    """An exception in one line: its type, the first informative line of its message, and its place.

    The place is the innermost one in the user's own code, (FILE:LINE), where there is one; a file in `folder` has its
    name there. In TensorFlow's messages on a graph, the informative line comes after the places.
    """
    try:
        return _reason(error, folder)
    except Exception as odd:  # noqa: BLE001  # an exception of the user's may be built as it likes
        return f"{type(error).__name__}: (what it holds can't be read: {type(odd).__name__})"


def _reason(error: BaseException, folder: Path | None) -> str:
    if isinstance(error, LayerError):
        assert error.__cause__ is not None, "raised from what Keras raised"
        return f"{error.layer}: {reason(error.__cause__, folder)}"
    kind, text = type(error).__name__, message_of(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and lines[0].startswith("Graph execution error"):
        places = ("Graph execution error", "Detected at", "File ", "[[", "Errors may have", "Function call stack")
        lines = [line for line in lines if not line.startswith(places)] or lines
    elif lines and lines[0] == _BY_AUTOGRAPH:
        lines = _behind_places(lines, kind) or lines
    summary = f"{kind}: {lines[0][:_MOST]}" if lines else kind
    if isinstance(error, BaseExceptionGroup):
        first = error.exceptions[0]
        for _ in range(_DEEPEST):  # however many lie inside each other
            if not isinstance(first, BaseExceptionGroup):
                break
            first = first.exceptions[0]
        else:
            return f"{summary} (it holds more than {_DEEPEST:,} others inside each other)"
        summary += f"; the first of them: {reason(first, folder)}"
    where = place(error, folder)
    if lacks_its_place(error) and folder is not None:
        where = nul_in_code(folder) or where
    return f"{summary} ({where})" if where else summary


def place(error: BaseException, folder: Path | None = None) -> str | None:
    """`FILE:LINE` of the innermost frame in the user's own code; None where there is none.

    TensorFlow's errors in traced code have their places in the message.
    """
    text = message_of(error)[: 2**16]
    by_tensorflow = text.lstrip().startswith(_BY_AUTOGRAPH) or _OF_A_NODE in text
    in_text = [(match["file"], int(match["line"])) for match in _IN_TEXT.finditer(text)] if by_tensorflow else []
    walked = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    return _innermost(in_text, folder) or _innermost(walked, folder)


def is_fatal(error: BaseException) -> bool:
    """Whether it is KerasTuner's FatalError, by which code ends the whole search."""
    errors = getattr(sys.modules.get("keras_tuner"), "errors", None)
    raised = error.__cause__ if isinstance(error, LayerError) else error
    return errors is not None and isinstance(raised, errors.FatalError)


def _behind_places(lines: list[str], kind: str) -> list[str]:
    """The message after the places, without the type, which is shown before it anyway."""
    last = max((at for at, line in enumerate(lines) if _IN_TEXT.match(line)), default=0)
    start = next((at for at in range(last + 1, len(lines)) if lines[at].startswith(f"{kind}: ")), None)
    return [lines[start].removeprefix(f"{kind}: "), *lines[start + 1 :]] if start is not None else []


def _innermost(places: Iterable[tuple[str, int]], folder: Path | None) -> str | None:
    own = [(file, line) for file, line in places if is_own_file(file)]
    if not own:
        return None
    file, line = own[-1]
    path = Path(file)
    if folder is not None and path.is_relative_to(folder.resolve()):
        path = path.relative_to(folder.resolve())
    return f"{path}:{line}"
