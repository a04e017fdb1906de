"""How measures leave the device and reach the cube while the next batch runs."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import accumulate
from types import TracebackType
from typing import Any, Self

import torch
from numpy.typing import NDArray

__all__ = ["Departure", "HostMemory", "Writer", "depart", "on_card", "runs_ahead", "threads_beside"]

# Tasks that wait for the writer: enough that it is never idle, few enough that memory holds what they bring along.
_MOST_WAITING = 3
_MOST_THREADS = 8
# Each tensor begins at a multiple of so many bytes.
_ALIGNED = 64


def threads_beside(device: torch.device) -> int:
    """Return the number of threads that fill the cube while a device computes: the model has the CPU's own cores."""
    return min(_MOST_THREADS, os.cpu_count() or 1) if runs_ahead(device) else 1


def runs_ahead(device: torch.device) -> bool:
    """Whether a device computes what it was given while its host does other work."""
    return device.type != "cpu"


def on_card(tensor: torch.Tensor) -> bool:
    """Whether a tensor is where copies of it can be under way while more is computed."""
    return tensor.device.type == "cuda"


def _pinned(n_bytes: int) -> torch.Tensor:
    return torch.empty(n_bytes, dtype=torch.uint8, pin_memory=True)


class HostMemory:
    """Memory that tensors of a card arrive in, used again when it was given back.

    To pin it takes longer than to fill it. Safe to use from several threads.

    Parameters
    ----------
    allocate : callable
        Makes so many bytes of it.
    """

    def __init__(self, allocate: Callable[[int], torch.Tensor] = _pinned) -> None:
        self._allocate = allocate
        self._free: list[torch.Tensor] = []
        self._lock = threading.Lock()

    def take(self, n_bytes: int) -> torch.Tensor:
        """Return memory of at least so many bytes that nobody else has."""
        with self._lock:
            enough = [memory for memory in self._free if memory.numel() >= n_bytes]
            taken = min(enough, key=torch.Tensor.numel) if enough else None
            # What is too small makes room for what takes its place.
            given_up = taken if enough else max(self._free, key=torch.Tensor.numel, default=None)
            self._free = [memory for memory in self._free if memory is not given_up]
        return self._allocate(n_bytes) if taken is None else taken

    def give_back(self, memory: torch.Tensor) -> None:
        """Let others take it, when all that was in it has been read."""
        with self._lock:
            self._free.append(memory)


class Departure:
    """Tensors on their way to the host.

    Called, on whatever thread, it waits until they are there and gives them as arrays, which are to be read until
    `release`.

    Parameters
    ----------
    tensors : sequence of torch.Tensor
        Where they arrive.
    wait : callable
        Waits until they have.
    release : callable
        Gives back the memory that they are in.
    """

    def __init__(
        self,
        tensors: Sequence[torch.Tensor],
        wait: Callable[[], None] = lambda: None,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        self._tensors = tensors
        self._wait = wait
        self.release = release

    def __call__(self) -> list[NDArray[Any]]:
        """Wait, and give the arrays."""
        self._wait()
        return [tensor.numpy() for tensor in self._tensors]


def depart(tensors: Sequence[torch.Tensor], memory: HostMemory | None = None) -> Departure:
    """Send tensors of one device to the host, without waiting for it.

    Those of a card leave through pinned memory beside the computation.

    Parameters
    ----------
    tensors : sequence of torch.Tensor
        What is to leave; not changed afterwards.
    memory : HostMemory, optional
        Where those of a card arrive.

    Returns
    -------
    Departure
    """
    if not tensors or not on_card(tensors[0]):
        return Departure([tensor.cpu() for tensor in tensors])
    memory = HostMemory() if memory is None else memory
    tensors = [tensor.contiguous() for tensor in tensors]
    starts = [0, *accumulate(-(-tensor.nbytes // _ALIGNED) * _ALIGNED for tensor in tensors)]
    taken = memory.take(starts[-1])
    places = [
        taken[start : start + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        for start, tensor in zip(starts, tensors, strict=False)
    ]
    return Departure(places, _copy_beside(tensors, places), lambda: memory.give_back(taken))


def _copy_beside(tensors: Sequence[torch.Tensor], places: Sequence[torch.Tensor]) -> Callable[[], None]:
    """Copy tensors of a card beside what it computes; what is returned waits for it."""
    device = tensors[0].device
    beside = _stream(device)
    beside.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(beside):
        for tensor, place in zip(tensors, places, strict=True):
            place.copy_(tensor, non_blocking=True)
            # Its memory is not given to others before the copy is done.
            tensor.record_stream(beside)
        there: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
        there.record(beside)
    return there.synchronize  # type: ignore[no-any-return]


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

    Attributes
    ----------
    n_threads : int
        As given.
    """

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
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
        parts = [self._helpers.submit(work) for work in works]
        # All of them, though one fails: what they read is given to others after that.
        wait(parts)
        for part in parts:
            part.result()

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
