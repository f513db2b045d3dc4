"""Reads, writes and deletes files in a folder that anybody may have written to, and never follows a link out of it.

Each function takes `below`, the folder from which on no link is followed (by default the folder that the path names).
Folders are opened one inside the other, and every operation acts on the open folder, whatever its name stands for by
then. Anything but a plain file or folder (a link, a pipe, a device) is refused before it is opened, so that nothing
waits for it.

What was written is on disk when a function returns: the bytes before the name, the name before the return.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from hptune.base.errors import RunError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
    stat.S_IFREG: "a file",
}
_EXCHANGE = 2
"""RENAME_EXCHANGE of Linux's renameat2."""


# --- looking --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def opened(path: Path, *, below: Path | None = None, make: bool = False) -> Iterator[int]:
    """The descriptor of a folder. make: create it, and the folders around it, where they are missing.

    Raises RunError where something else is in its place, OSError (FileNotFoundError, say) where it can't be opened.
    """
    base = below if below is not None else path
    if make:
        _make_base(base)
    fd, reached = os.open(base, os.O_RDONLY | os.O_DIRECTORY), base
    try:
        for name in path.relative_to(base).parts:
            reached = reached / name
            inner = _entered(fd, name, reached, make=make)
            os.close(fd)
            fd = inner
        yield fd
    finally:
        os.close(fd)


def names(path: Path, *, below: Path | None = None) -> list[str]:
    """The names in a folder, sorted; none where there is no such folder. Raises RunError."""
    try:
        with opened(path, below=below) as folder:
            return sorted(os.listdir(folder))  # noqa: PTH208  # of a descriptor
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"{path} can't be read: {error.strerror}. Check the run's folder.") from error


def is_file(path: Path, *, below: Path | None = None) -> bool:
    """Whether a file is there. Raises RunError where something else is."""
    try:
        with opened(path.parent, below=below) as folder:
            return _is_plain(folder, path, stat.S_IFREG)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise RunError(f"{path} can't be read: {error.strerror}. Check the run's folder.") from error


def open_descriptor(path: Path, flags: int, *, below: Path | None = None) -> int:
    """A descriptor of a plain file; made under os.O_CREAT. Raises OSError, and RunError where something else is there,
    or, to write, a file that has another name too, which may lie anywhere.
    """
    with opened(path.parent, below=below) as folder:
        new = not _is_plain(folder, path, stat.S_IFREG)
        fd = os.open(path.name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666, dir_fd=folder)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise _refusal(path, found.st_mode)
            if found.st_nlink > 1 and flags & (os.O_WRONLY | os.O_RDWR):
                raise _shared(path)
            if new:
                os.fsync(folder)
        except BaseException:
            os.close(fd)
            raise
    return fd


def open_file(path: Path, *, below: Path | None = None) -> BinaryIO:
    """A plain file, to read. Raises RunError where something else is there, OSError where it can't be opened."""
    return os.fdopen(open_descriptor(path, os.O_RDONLY, below=below), "rb")


def read_bytes(path: Path, *, below: Path | None = None) -> bytes:
    """All of a plain file. Raises FileNotFoundError, and RunError where it can't be read or something else is there."""
    try:
        with open_file(path, below=below) as file:
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunError(f"{path} can't be read: {error.strerror}. Check the run's folder.") from error


# --- writing --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def whole_file(path: Path, *, below: Path | None = None) -> Iterator[BinaryIO]:
    """A file to write that appears whole or not at all: temporary file, fsync, rename, fsync of the name. Makes its
    folder, and replaces a link that stands in its place.

    Raises RunError where it can't be written; what stood there before then stays.
    """
    part = f"{path.name}.{os.getpid()}.part"  # two workers may write the same weights
    try:
        with opened(path.parent, below=below, make=True) as folder:
            _is_plain(folder, path, stat.S_IFREG, stat.S_IFLNK)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part, dir_fd=folder)  # of a process that was killed
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666, dir_fd=folder)
            try:
                with os.fdopen(fd, "wb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(part, path.name, src_dir_fd=folder, dst_dir_fd=folder)
                os.fsync(folder)
            except BaseException:
                with contextlib.suppress(OSError):  # what is raised is the reason; a full disk needs the room
                    os.unlink(part, dir_fd=folder)
                raise
    except OSError as error:
        raise unwritable(path, error) from error


@contextlib.contextmanager
def output_file(path: Path) -> Iterator[BinaryIO]:
    """A file that the user named, to write: links are followed, and it appears whole or not at all.

    Anything that is no file (a terminal, a pipe, /dev/null) is written to directly. Raises RunError.
    """
    if path.is_dir():
        raise RunError(f"{path} can't be written: it is a folder. Name another file.")
    if path.exists() and not path.is_file():
        try:
            with path.open("wb") as file:
                yield file
        except OSError as error:
            raise RunError(f"{path} can't be written: {error.strerror}. Name another file.") from error
    else:
        with whole_file(path.resolve()) as file:
            yield file


def write_whole(path: Path, text: str, *, below: Path | None = None) -> None:
    r"""Write a text file by `whole_file`, halves of surrogate pairs as \udXXX, which JSON reads. Raises RunError."""
    with whole_file(path, below=below) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def make_folder(path: Path, *, below: Path) -> None:
    """Make a folder, and the folders around it, where they are missing. Raises RunError."""
    try:
        with opened(path, below=below, make=True):
            pass
    except OSError as error:
        raise unwritable(path, error) from error


def remove(path: Path, *, below: Path) -> None:
    """Delete a file, or a folder with its content, if there is one. Raises RunError, also for anything else."""
    try:
        with opened(path.parent, below=below) as folder:
            if _is_plain(folder, path, stat.S_IFREG, stat.S_IFDIR):
                if stat.S_ISDIR(os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_mode):
                    shutil.rmtree(path.name, dir_fd=folder)
                else:
                    os.unlink(path.name, dir_fd=folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _undeletable(path, error) from error


def remove_if_empty(path: Path, *, below: Path) -> None:
    """Delete a folder if it is empty. Raises RunError."""
    try:
        with opened(path.parent, below=below) as folder:
            os.rmdir(path.name, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise _undeletable(path, error) from error


def rename_folder(path: Path, other: Path, *, below: Path) -> None:
    """Rename a folder inside its parent folder. Raises RunError."""
    try:
        with opened(path.parent, below=below) as folder:
            os.rename(path.name, other.name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
    except OSError as error:
        raise unwritable(other, error) from error


def move(source: Path, path: Path, *, below: Path) -> None:
    """Move `source` to `path`, where there is nothing or a file. All of it is on disk first. Raises RunError."""
    try:
        _sync_all(source, below=below)
        with opened(source.parent, below=below) as old, opened(path.parent, below=below) as new:
            os.replace(source.name, path.name, src_dir_fd=old, dst_dir_fd=new)
            os.fsync(new)
            os.fsync(old)
    except OSError as error:
        raise unwritable(path, error) from error


def replace_folder(source: Path, path: Path, aside: Path, *, below: Path) -> None:
    """Replace the folder `path` by the folder `source`, at once; all three lie in one folder.

    The new one is on disk first; the old one is deleted. Where the system can't exchange two folders, the old one
    stands at `aside` for a moment: `restore_folder` brings it back. Raises RunError.
    """
    try:
        _sync_all(source, below=below)
        with opened(path.parent, below=below) as folder:
            if not _is_plain(folder, path, stat.S_IFDIR):
                os.rename(source.name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            elif not _exchanged(folder, source.name, path.name):
                os.rename(path.name, aside.name, src_dir_fd=folder, dst_dir_fd=folder)
                os.rename(source.name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
    except OSError as error:
        raise unwritable(path, error) from error
    remove(source, below=below)
    remove(aside, below=below)


def restore_folder(path: Path, aside: Path, *, below: Path) -> None:
    """Bring back the folder that `replace_folder` put aside, where it was killed before the new one was in its place.

    Raises RunError.
    """
    there = names(path.parent, below=below)
    if aside.name in there and path.name not in there:
        rename_folder(aside, path, below=below)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on disk, as fsync does the bytes of a file. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


# --- how ------------------------------------------------------------------------------------------------------------


def _make_base(base: Path) -> None:
    for folder in [missing for missing in (*reversed(base.parents), base) if not missing.exists()]:
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def _entered(fd: int, name: str, reached: Path, *, make: bool) -> int:
    """A folder in the folder `fd`, opened."""
    assert name != "..", reached
    try:
        return os.open(name, _FOLDER, dir_fd=fd)
    except FileNotFoundError:
        if not make:
            raise
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        raise _refusal(reached, os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode) from error
    with contextlib.suppress(FileExistsError):  # another worker was faster
        os.mkdir(name, dir_fd=fd)
        os.fsync(fd)
    return _entered(fd, name, reached, make=False)


def _is_plain(folder: int, path: Path, *kinds: int) -> bool:
    """Whether something of these kinds is there; False where nothing is. Raises RunError for another kind."""
    try:
        mode = os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return False
    if stat.S_IFMT(mode) not in kinds:
        raise _refusal(path, mode)
    return True


def _exchanged(folder: int, name: str, other: str) -> bool:
    """Exchange two names; whether the system could. Raises OSError."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:  # an older C library, or another system
        return False
    if rename(folder, os.fsencode(name), folder, os.fsencode(other), ctypes.c_uint(_EXCHANGE)) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code))


def _sync_all(path: Path, *, below: Path) -> None:
    """Put a file, or a folder with its content, on disk. Raises OSError, and RunError for a link."""
    with opened(path.parent, below=below) as folder:
        if stat.S_ISDIR(os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_mode):
            for inside, _, files, fd in os.fwalk(path.name, topdown=False, dir_fd=folder):
                for name in files:
                    _sync_one(fd, Path(inside) / name)
                os.fsync(fd)
        else:
            _sync_one(folder, path)


def _sync_one(folder: int, path: Path) -> None:
    _is_plain(folder, path, stat.S_IFREG)
    fd = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _refusal(path: Path, mode: int) -> RunError:
    return RunError(
        f"{path} can't be used: it is {_KINDS.get(stat.S_IFMT(mode), 'no file')}. Nothing is read, written or deleted "
        "through one inside a run's folder. Move it away, or put what belongs there in its place, then run the same "
        "command again."
    )


def _shared(path: Path) -> RunError:
    return RunError(
        f"{path} has another name too (a hard link, as `cp -l` makes), by which it would be changed as well. Copy the "
        f"run's folder with `cp -r`, put the copy in its place, then run the same command again."
    )


def _undeletable(path: Path, error: OSError) -> RunError:
    reason = f"{path} can't be deleted: {error.strerror}"
    return RunError(f"{reason}. Give the right to write, then run the same command again.")


def unwritable(path: Path, error: OSError) -> RunError:
    """The error for a file or folder that can't be written."""
    return RunError(
        f"{path} can't be written: {error.strerror or error}. Make room or give the right to write, then run the "
        "same command again."
    )
