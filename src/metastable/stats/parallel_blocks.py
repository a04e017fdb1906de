"""Blocks of work on threads side by side, each of which multiplies matrices on one thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

from threadpoolctl import ThreadpoolController

__all__ = ["blas_threads", "on_one_thread", "side_by_side"]

Part = TypeVar("Part")
Result = TypeVar("Result")


@cache
def _blas() -> ThreadpoolController:
    """Every library of BLAS that is loaded."""
    return ThreadpoolController().select(user_api="blas")


def blas_threads() -> int:
    """Return on how many threads a product of matrices runs, as the machine or the user has it."""
    return max((library.num_threads for library in _blas().lib_controllers), default=1)


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Multiply matrices on one thread for as long as the context lasts.

    Threads that share every small product wait for each other after each in busy loops, which costs several times the
    work where another process wants the cores.
    """
    with _blas().limit(limits=1):
        yield


def side_by_side(work: Callable[[Part], Result], parts: Iterable[Part]) -> Iterator[Result]:
    """Yield work(part) of all parts in their order, on as many threads as one product of matrices would take.

    For the reason that `on_one_thread` gives; and what is done to a product's elements runs on one thread anyway.

    Parameters
    ----------
    work : callable
        Called once a part; calls run side by side.
    parts : iterable
        Drawn from one at a time, by the calling thread; no more of them wait or run than there are threads.

    Yields
    ------
    object
        What `work` returned.
    """
    n_threads = blas_threads()
    with on_one_thread():
        if n_threads == 1:
            yield from map(work, parts)
            return
        with ThreadPoolExecutor(n_threads) as pool:
            waiting: deque[Future[Result]] = deque()
            try:
                for part in parts:
                    waiting.append(pool.submit(work, part))
                    if len(waiting) == n_threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()
