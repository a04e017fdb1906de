"""Figures are saved by processes beside this one, which goes on with its work meanwhile."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import IO, TYPE_CHECKING, Any, Protocol

from metastable.figures.save import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Save", "processes_beside", "saving_beside", "serve"]

# More would wait for the one that draws.
_MOST = 3


class Save(Protocol):
    """Saves a figure as `metastable.figures.save_figure` does, now or soon."""

    def __call__(
        self, figure: Figure | Callable[[], Figure], folder: str | Path, stem: str, *, alt: str | None = None
    ) -> Any:
        """Save it."""


@dataclass(frozen=True)
class _Job:
    figure: Figure | Callable[[], Figure]
    folder: Path
    stem: str
    alt: str | None

    def do(self) -> None:
        save_figure(self.figure, self.folder, self.stem, alt=self.alt)


def processes_beside() -> int:
    """Return how many processes can work beside this one: one for each core that it does not need, few at most."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores - 1, _MOST)


@contextmanager
def saving_beside(n_processes: int | None = None) -> Iterator[Save]:
    """Start processes that save figures, and give the function that hands them over.

    They start at once, so that they are ready by the time that there is a figure. Where none can be started, or one
    fails at a figure, this process saves it itself.

    Parameters
    ----------
    n_processes : int or None
        How many; None for `processes_beside`.

    Yields
    ------
    callable
        ``save(figure, folder, stem, alt=...)``, which returns at once. In the place of a figure stands better the
        function that draws it (`functools.partial`), since it is then drawn beside too. What it is drawn from must not
        be changed after. All files are there when the context is left; if it is left by an exception, what was not
        saved by then is dropped.

    Raises
    ------
    InputError
        When the context is left, as `metastable.figures.save_figure`.

    Notes
    -----
    The processes are new ones, not copies of this one, which would inherit its threads' locks without the threads, and
    they do not import the user's program, as those of `multiprocessing` do.
    """
    processes = _started(processes_beside() if n_processes is None else n_processes)
    if not processes:
        yield save_figure
        return
    todo: deque[_Job] = deque()
    failed: list[_Job] = []
    threads: list[Thread] = []

    def hand_over(process: subprocess.Popen[bytes]) -> None:
        while True:
            try:
                job = todo.popleft()
            except IndexError:
                return
            if not _saved(process, job):
                failed.append(job)

    def save(figure: Figure | Callable[[], Figure], folder: str | Path, stem: str, *, alt: str | None = None) -> None:
        todo.append(_Job(figure, Path(folder), stem, alt))
        for index, process in enumerate(processes):
            if index == len(threads) or not threads[index].is_alive():
                threads[index : index + 1] = [Thread(target=hand_over, args=(process,), daemon=True)]
                threads[index].start()
                return

    try:
        yield save
        # this process takes its share of what is left, the last first
        while todo:
            with suppress(IndexError):
                todo.pop().do()
        for thread in threads:
            thread.join()
        for job in failed:
            job.do()
    finally:
        todo.clear()
        for process in processes:
            process.kill()
            process.communicate()


def _started(n: int) -> list[subprocess.Popen[bytes]]:
    """Start processes; fewer, or none, where the machine allows no more."""
    code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
    processes: list[subprocess.Popen[bytes]] = []
    with suppress(OSError):
        for _ in range(n):
            processes.append(  # noqa: PERF401
                subprocess.Popen(
                    [sys.executable, "-c", code],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    # Ctrl-C is for the process that the user started, which ends this one
                    start_new_session=True,
                )
            )
    return processes


def _saved(process: subprocess.Popen[bytes], job: _Job) -> bool:
    """Let a process save a figure; False if it cannot."""
    if process.stdin is None or process.stdout is None:
        return False
    try:
        message = pickle.dumps(job)
    except Exception:  # what matplotlib cannot pickle is drawn here
        return False
    try:
        process.stdin.write(len(message).to_bytes(8, "big") + message)
        process.stdin.flush()
        return process.stdout.read(1) == b"+"
    except (OSError, ValueError):
        return False


def _warm_up() -> None:
    """Import all that a figure needs, and read the fonts."""
    import metastable.figures as figures
    from metastable.figures.style import NotebookFigure

    for name in dir(figures):
        getattr(figures, name)
    figure = NotebookFigure()
    figure.add_subplot().set_title("a")
    for kind in ("svg", "png"):
        figure.savefig(BytesIO(), format=kind)


def serve(jobs: IO[bytes] | None = None, answers: IO[bytes] | None = None) -> None:
    """Save the figures that come in, one after another, until no more come.

    Parameters
    ----------
    jobs, answers : binary file, optional
        Standard input and output unless told. Each job is its length in eight bytes and a pickle; the answer is ``+``,
        or ``-`` where it could not be saved.
    """
    jobs, answers = jobs or sys.stdin.buffer, answers or sys.stdout.buffer
    gc.disable()
    _warm_up()
    gc.freeze()
    gc.enable()
    while len(size := jobs.read(8)) == 8:
        try:
            job: _Job = pickle.loads(jobs.read(int.from_bytes(size, "big")))  # noqa: S301
            job.do()
            answer = b"+"
        except Exception:  # the other side saves it, and tells the user what is wrong
            answer = b"-"
        answers.write(answer)
        answers.flush()
