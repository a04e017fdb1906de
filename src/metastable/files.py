"""Files are written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from metastable.errors import InputError
from metastable.stopping import finished_first

__all__ = [
    "files_below",
    "finish_moving",
    "is_file",
    "locked",
    "replace_folder",
    "require_writable",
    "sha256_of",
    "size_of",
    "sweep_temporary",
    "take_along",
    "unlike",
    "write_text",
    "written_together",
    "written_whole",
]

# In the folder that files are moved from: the former record, and the folder that is moved with them.
_FORMER, _ALONG = ".former", ".along"


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it takes its place in one step.

    Parameters
    ----------
    path : Path
        The file to write; its folder is made where it is missing.

    Yields
    ------
    Path
        Where to write: an empty file that everyone whom the umask allows may read. If the block raises, it goes and
        `path` stays as it was. Several threads may write side by side.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(4)}{path.suffix}")
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def written_together(folder: Path, last: str) -> Iterator[Path]:
    """Give a folder to write files into; on success all take their places in `folder` together.

    They are written aside, and moved only when all are whole. The file `last`, which says that the others are there,
    leaves before the first of them moves and comes back after the last: whoever finds it finds the others of its kind.
    A move that was cut short is finished by `finish_moving`.

    Parameters
    ----------
    folder : Path
        Where the files go. Files that its former `last` names under ``"files"`` and the new one does not are removed.
    last : str
        Name of the file that comes last, JSON with ``"files"``, the hashes of the others by their names.

    Yields
    ------
    Path
        Where to write, folders and all; it is made by whoever writes. If the block raises, all of it goes and `folder`
        stays as it was.

    Raises
    ------
    InputError
        If the files cannot be moved; they stay where they were written, and `finish_moving` goes on from there.
    """
    # a process that outlives a killed run may still write to that run's folder: no two share one
    staged = folder / f"{_staged_prefix(last)}{secrets.token_hex(4)}"
    try:
        yield staged
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    _move(staged, folder, last)


def take_along(staged: Path, source: Path, target: Path) -> None:
    """Let a folder that is whole already take its place with the files of `written_together`.

    Parameters
    ----------
    staged : Path
        What `written_together` gave.
    source, target : Path
        The folder and its place, both in the folder of these files.
    """
    write_text(staged / _ALONG, json.dumps([source.name, target.name]))


def finish_moving(folder: Path, last: str) -> bool:
    """Finish what `written_together` was cut short at: move files that are whole, remove those that are not.

    Parameters
    ----------
    folder : Path
    last : str
        As `written_together` had them.

    Returns
    -------
    bool
        Whether files were moved.

    Raises
    ------
    InputError
        If the files cannot be moved.
    """
    moved = False
    for staged in sorted(folder.glob(f"{_staged_prefix(last)}*")):
        if (staged / last).is_file():
            _move(staged, folder, last)
            moved = True
        else:
            shutil.rmtree(staged)
    return moved


def _staged_prefix(last: str) -> str:
    return f".{Path(last).stem}-new-"


def _move(staged: Path, folder: Path, last: str) -> None:
    former, place = staged / _FORMER, folder / last
    try:
        with finished_first():
            if place.exists():
                place.replace(former)  # from here on the folder holds nothing that calls itself whole
            if (staged / _ALONG).is_file():
                source, target = json.loads((staged / _ALONG).read_text(encoding="utf-8"))
                replace_folder(folder / source, folder / target)
            for name in files_below(staged, but=(last, _FORMER, _ALONG)):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (staged / name).replace(folder / name)
            for name in _named_in(former) - _named_in(staged / last):
                (folder / name).unlink(missing_ok=True)
            (staged / last).replace(place)
            shutil.rmtree(staged)
    except OSError as error:
        raise InputError(
            f"what was written is whole in {staged}, but cannot be moved to {folder} ({error.strerror}); make that "
            "possible and type the same command again"
        ) from error


def replace_folder(source: Path, target: Path) -> None:
    """Put a folder in its place; what was there goes only after the new one stands.

    Parameters
    ----------
    source : Path
        The whole folder; where it is missing, it was put there before, and only what was left is done.
    target : Path
        Its place, in the same folder.
    """
    former = target.with_name(f".{target.stem}-former{target.suffix}")
    if source.exists():
        if target.exists():
            if former.exists():
                shutil.rmtree(former)
            target.replace(former)
        source.replace(target)
    if target.exists() and former.exists():
        shutil.rmtree(former)


def _named_in(record: Path) -> set[str]:
    """Return the names of the files that a record lists, none that leads out of its folder."""
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return set()  # there is none, or it cannot be read, so that nothing is known to be its own
    files = found.get("files") if isinstance(found, dict) else None
    paths = {name: PurePosixPath(name) for name in files} if isinstance(files, dict) else {}
    return {name for name, path in paths.items() if not path.is_absolute() and ".." not in path.parts}


@contextmanager
def locked(path: Path, *, patience: float = 0) -> Iterator[bool]:
    """Hold a lock that one process at a time can hold, for as long as the context lasts.

    Parameters
    ----------
    path : Path
        The file of the lock, which goes with it. The lock of a process that died is free.
    patience : float
        Seconds to wait for it.

    Yields
    ------
    bool
        False if another process holds it.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=patience)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        # by whoever holds it, so that nobody takes the file for free that another one has just opened
        with suppress(OSError):  # an open file cannot be removed everywhere; it stays, and is free
            path.unlink()
        lock.release()


_TEMPORARY = re.compile(r"\..+(?P<suffix>\.\w+)-[a-z0-9_]{8}(?P=suffix)")


def sweep_temporary(folder: Path) -> None:
    """Remove the temporary files that killed writers of `written_whole` left in a folder where nobody writes now."""
    for path in folder.glob(".*"):
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder and its folders."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def files_below(folder: Path, but: tuple[str, ...] = ()) -> list[str]:
    """Return the names of all files in a folder and its folders, relative to it, in order.

    Parameters
    ----------
    folder : Path
    but : tuple of str
        Names that are left out.
    """
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if name not in but)


def unlike(folder: Path, hashes: Mapping[str, str]) -> list[str]:
    """Return the names of the files that are there with another hash than is known of them.

    Parameters
    ----------
    folder : Path
    hashes : mapping of str to str
        SHA-256 of each file by its name, relative to the folder. A file that is missing is not unlike: whoever needs
        it finds that out.
    """
    return [name for name, known in hashes.items() if (folder / name).is_file() and sha256_of(folder / name) != known]


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_file(path: Path) -> bool:
    """Whether there is a file at a path that a user gave.

    Raises
    ------
    InputError
        If no file can have such a path: it is too long, or holds a zero byte.
    """
    try:
        return path.is_file()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{str(path)[:80]}: {reason}; give the path of a file") from None


def require_writable(folder: Path, option: str) -> None:
    """Make a folder and see that a file can be written there.

    Raises
    ------
    InputError
        If not, naming the folder, the option and why.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"cannot write to {str(folder)[:200]} ({error.strerror}); give a folder that you may write to by {option}"
        ) from None
