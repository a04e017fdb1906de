"""Wall time of the stages of a run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from metastable.progress import Advance, Stages

__all__ = ["Clock"]


@dataclass
class Clock:
    """Wall time of each stage, for run.json.

    Attributes
    ----------
    stages : Stages
        Who is told of progress.
    seconds : dict of str to float
        Wall time of each stage that is over.
    """

    stages: Stages
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, key: str, title: str) -> Iterator[Advance]:
        """Open a stage under a key of `seconds` and a title for readers."""
        start = time.perf_counter()
        with self.stages.stage(title) as advance:
            yield advance
        self.seconds[key] = round(time.perf_counter() - start, 3)
