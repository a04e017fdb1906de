"""How measures leave the device and reach the cube while the next batch runs."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import torch
from numpy.typing import NDArray

__all__ = ["Writer", "depart", "threads_beside"]

# Tasks that wait for the writer: enough that it is never idle, few enough that memory holds what they bring along.
_MOST_WAITING = 3
_MOST_THREADS = 8


def threads_beside(device: torch.device) -> int:
    """Return the number of threads that fill the cube while a device computes: the model has the CPU's own cores."""
    return 1 if device.type == "cpu" else min(_MOST_THREADS, os.cpu_count() or 1)


def depart(tensors: Sequence[torch.Tensor]) -> Callable[[], list[NDArray[Any]]]:
    """Send tensors of one device to the host, without waiting for it.

    Those of a card are joined to one tensor of each type, which leaves through pinned memory beside the computation.

    Parameters
    ----------
    tensors : sequence of torch.Tensor
        What is to leave; not changed afterwards.

    Returns
    -------
    callable
        Waits until they are there, on whatever thread, and gives them as arrays.
    """
    if not tensors or tensors[0].device.type != "cuda":
        here = [tensor.cpu() for tensor in tensors]
        return lambda: [tensor.numpy() for tensor in here]
    device = tensors[0].device
    beside = _stream(device)
    kinds = sorted({tensor.dtype for tensor in tensors}, key=str)
    hosts: dict[torch.dtype, torch.Tensor] = {}
    for kind in kinds:
        joined = torch.cat([tensor.reshape(-1) for tensor in tensors if tensor.dtype == kind])
        beside.wait_stream(torch.cuda.current_stream(device))
        hosts[kind] = torch.empty(joined.shape, dtype=kind, pin_memory=True)
        with torch.cuda.stream(beside):
            hosts[kind].copy_(joined, non_blocking=True)
        # Its memory is not given to others before the copy is done.
        joined.record_stream(beside)
    there: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
    there.record(beside)

    def arrive() -> list[NDArray[Any]]:
        there.synchronize()
        starts = dict.fromkeys(kinds, 0)
        arrays = []
        for shape, kind in shapes:
            size = shape.numel()
            arrays.append(hosts[kind][starts[kind] : starts[kind] + size].view(shape).numpy())
            starts[kind] += size
        return arrays

    # The shapes alone, so that the tensors themselves can go.
    shapes = [(tensor.shape, tensor.dtype) for tensor in tensors]
    return arrive


_STREAMS: dict[torch.device, torch.cuda.Stream] = {}


def _stream(device: torch.device) -> torch.cuda.Stream:
    if device not in _STREAMS:
        _STREAMS[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return _STREAMS[device]


class Writer:
    """Does tasks one after another on a thread of its own; a task may share its parts among further threads.

    Used as a context: it ends when all tasks are done, also where the caller's work fails, so that what was handed
    over before is kept. What a task raises, `submit` or the end of the context raises, whatever the caller raised;
    later tasks are then not done.

    Parameters
    ----------
    n_threads : int
        Threads that `share` uses.
    """

    def __init__(self, n_threads: int) -> None:
        self._line = ThreadPoolExecutor(1, thread_name_prefix="metastable-writer")
        self._helpers = ThreadPoolExecutor(n_threads) if n_threads > 1 else None
        self._waiting: deque[Future[None]] = deque()
        self._failed = False

    def submit(self, task: Callable[[], None]) -> None:
        """Hand over a task; waits where too many do already."""
        while len(self._waiting) >= _MOST_WAITING or (self._waiting and self._waiting[0].done()):
            self._waiting.popleft().result()
        self._waiting.append(self._line.submit(self._do, task))

    def share(self, works: Sequence[Callable[[], None]]) -> None:
        """Do parts of a task, side by side where there are threads for it."""
        if self._helpers is None:
            for work in works:
                work()
            return
        for future in [self._helpers.submit(work) for work in works]:
            future.result()

    def drain(self) -> None:
        """Wait for all tasks that were handed over."""
        while self._waiting:
            self._waiting.popleft().result()

    def _do(self, task: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            task()
        except BaseException:
            self._failed = True
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.drain()
        finally:
            self._line.shutdown(wait=True)
            if self._helpers is not None:
                self._helpers.shutdown(wait=True)
        # What failed here is told also where the caller was interrupted meanwhile.
        self.drain()
