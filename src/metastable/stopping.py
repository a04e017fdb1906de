"""Ctrl-C and the signals that end a job: what is in hand is finished first."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

__all__ = ["INTERRUPTED", "asked_to_stop", "finished_first", "listening", "working"]

INTERRUPTED = 130
"""Exit code of a program that was interrupted, as shells have it."""

# SLURM sends SIGTERM before the time of a job is up, and SIGUSR1 where the job asks for it (--signal=USR1@60).
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))


@dataclass
class _State:
    """What the handler of the signals must know.

    Attributes
    ----------
    asked : bool
        Whether a signal came since `listening` began.
    working : int
        How many `working` contexts are open.
    in_hand : int
        How many `finished_first` contexts are open.
    """

    asked: bool = False
    working: int = 0
    in_hand: int = 0


_state = _State()


def _handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    if not _state.working:
        # An exception would come out of half an import as another one. Nothing was begun, so that nothing is lost.
        sys.stdout.flush()
        os.write(2, b"interrupted\n")
        os._exit(INTERRUPTED)
    again, _state.asked = _state.asked, True
    if again or not _state.in_hand:
        raise KeyboardInterrupt


@contextmanager
def listening() -> Iterator[None]:
    """Answer Ctrl-C, SIGTERM and SIGUSR1 alike for as long as the context lasts.

    Outside `working` the program ends at once. Within it the signal raises KeyboardInterrupt, within `finished_first`
    only when that is over, or at the second signal. In another thread than the main one, where Python allows no
    handlers, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.asked = False
    former = {number: signal.signal(number, _handle) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        # what comes after in this process was asked by nobody to stop
        _state.asked = False


@contextmanager
def working() -> Iterator[None]:
    """Say that there is something to lose, so that a signal raises KeyboardInterrupt."""
    _state.working += 1
    try:
        yield
    finally:
        _state.working -= 1


@contextmanager
def finished_first() -> Iterator[None]:
    """Finish what is within before a signal ends the program.

    Raises
    ------
    KeyboardInterrupt
        At the end, if a signal came.
    """
    _state.in_hand += 1
    try:
        yield
    finally:
        _state.in_hand -= 1
    if _state.asked and not _state.in_hand:
        raise KeyboardInterrupt


def asked_to_stop() -> bool:
    """Whether a signal came since `listening` began."""
    return _state.asked
