"""How long work tells how far it is, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

__all__ = ["Advance", "Silent", "Stages"]

Advance = Callable[[int, int], None]
"""Called with the work done so far and the whole of it."""


class Stages(Protocol):
    """A listener: told of each stage, and within it of what is done."""

    def stage(self, title: str) -> AbstractContextManager[Advance]:
        """Open a stage; the value is called with (done, total)."""
        ...

    def say(self, text: str) -> None:
        """Tell the user one sentence."""
        ...


class Silent:
    """Listens to nothing, for notebooks and tests."""

    @contextmanager
    def stage(self, title: str) -> Iterator[Advance]:  # noqa: ARG002
        """Open a stage that is not shown."""

        def ignore(done: int, total: int) -> None:
            """Drop the numbers."""

        yield ignore

    def say(self, text: str) -> None:
        """Drop the sentence."""
