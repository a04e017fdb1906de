"""Work shared among threads that compute alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numba
import torch

__all__ = ["fewer_threads", "most_threads", "share_out"]

Part = TypeVar("Part")


def most_threads() -> int:
    """Return the number of threads that torch and numba are both set to use."""
    most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    return min(torch.get_num_threads(), most)


@contextmanager
def fewer_threads(n: int) -> Iterator[None]:
    """Leave cores to other processes for as long as the context lasts.

    Torch's threads wait for each other in busy loops: one that has to share its core holds all of them up.

    Parameters
    ----------
    n : int
        How many threads fewer torch may use; one is left to it.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before - n))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def share_out(work: Callable[[Part], None], parts: Iterable[Part], n_threads: int) -> None:
    """Do work(part) for all parts, on threads of which each takes the next part when it is free.

    They are Python's threads, since torch and compiled loops let go of its lock, and within them torch computes
    on one thread alone. Threads that share every product instead wait for each other after each, in busy loops,
    which costs several times the work where other processes want the cores.

    Parameters
    ----------
    work : callable
        Called once a part; calls run side by side.
    parts : iterable
        What there is to do.
    n_threads : int
        How many threads, the calling one among them.
    """
    if n_threads <= 1:
        for part in parts:
            work(part)
        return
    todo = iter(list(parts))
    inference = torch.is_inference_mode_enabled()
    before = torch.get_num_threads()

    def pull() -> None:
        # Both are settings of a thread, which a new one does not inherit.
        torch.set_num_threads(1)
        with torch.inference_mode(inference):
            for part in todo:
                work(part)

    try:
        with ThreadPoolExecutor(n_threads - 1) as pool:
            others = [pool.submit(pull) for _ in range(n_threads - 1)]
            pull()
            for other in others:
                other.result()
    finally:
        torch.set_num_threads(before)
