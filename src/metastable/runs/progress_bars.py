"""Progress bars on the terminal, plain lines where the output is a file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from metastable.progress import Advance

__all__ = ["RichStages"]


class RichStages:
    """Shows each stage as a bar, and leaves one line behind with the time that it took.

    Parameters
    ----------
    console : rich.console.Console
        Where to draw.
    """

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def stage(self, title: str) -> Iterator[Advance]:
        """Show a bar while the stage lasts."""
        start = time.perf_counter()
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        with progress:
            task = progress.add_task(escape(title), total=None)

            def advance(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            yield advance
        self.console.print(f"[green]✓[/] {escape(title)} [dim]{time.perf_counter() - start:.1f} s[/]")

    def say(self, text: str) -> None:
        """Print one sentence."""
        self.console.print(f"  [dim]{escape(text)}[/]", highlight=False)
