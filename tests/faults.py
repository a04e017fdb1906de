"""Faults at the N-th time that a process writes: it is killed, the disk is full, or writing is denied.

Where it writes is found by Python's audit events, which opening for writing, renaming, removing and making folders
raise before they happen: no list of these places is kept by hand.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

FAULTS = ("kill", "full", "denied")
NEVER = 1 << 60
_ERRORS = {"full": errno.ENOSPC, "denied": errno.EACCES}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_EVENTS = {"os.rename", "os.rmdir", "os.truncate"}


def arm(folder: Path, number: int, fault: str) -> Callable[[], int]:
    """Let the `number`-th event of writing below a folder fail; return how many there were."""
    seen, inside = 0, os.fspath(folder)

    def below(value: Any) -> bool:
        return isinstance(value, str | bytes | os.PathLike) and os.fspath(value).startswith(inside)

    def hook(event: str, given: tuple[Any, ...]) -> None:
        nonlocal seen
        if event == "open":
            counts = below(given[0]) and isinstance(given[2], int) and bool(given[2] & _WRITING)
        elif event == "os.mkdir":
            counts = below(given[0]) and not Path(os.fspath(given[0])).exists()
        elif event == "os.remove":
            # what is removed below an open folder has no whole path
            counts = given[1] != -1 or (below(given[0]) and Path(os.fspath(given[0])).exists())
        else:
            counts = event in _EVENTS and below(given[0])
        if counts:
            seen += 1
            if seen == number:
                if fault == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise OSError(_ERRORS[fault], os.strerror(_ERRORS[fault]), str(given[0]))

    sys.addaudithook(hook)
    return lambda: seen


def forked(work: Callable[[], None], log: Path) -> int:
    """Do work in a process of its own; its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        code = 0
        with log.open("w") as file:
            os.dup2(file.fileno(), 2)
            try:
                work()
            except Exception as error:
                code = 2 if type(error).__name__ == "InputError" else 1
                traceback.print_exc()
        os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)
