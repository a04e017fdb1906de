"""Several processes that share one extraction, as torchrun starts them.

``torchrun --nproc-per-node 2 -m studies mt40k_topbotk`` starts two processes on one host; on SLURM, ``srun
torchrun --nnodes $SLURM_NNODES --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint HOST:29500 -m studies
...`` starts four on each. All must see the same output folder. Each process takes every n-th block of
sequences; they talk by gloo, on the CPU, and only to begin and to end together.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed as dist

__all__ = ["Processes", "current_processes"]

Value = TypeVar("Value")

# One process may wait for another's whole share.
_PATIENCE = timedelta(days=14)


@dataclass(frozen=True)
class Processes:
    """One process among those that share the work.

    Attributes
    ----------
    rank : int
        From 0.
    size : int
        How many there are; 1 without torchrun.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this one makes the store and puts it in its place."""
        return self.rank == 0

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.size > 1:
            dist.barrier()

    def from_first(self, make: Callable[[], Value]) -> Value:
        """Return what the first process makes; it alone calls `make`."""
        if self.size == 1:
            return make()
        box: list[Any] = [make() if self.is_first else None]
        dist.broadcast_object_list(box, src=0)
        value: Value = box[0]
        return value


def current_processes() -> Processes:
    """Join the processes that torchrun started; a lone process where it did not."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 and not dist.is_initialized():
        return Processes()
    if not dist.is_initialized():
        dist.init_process_group("gloo", timeout=_PATIENCE)
        atexit.register(_leave)
    return Processes(dist.get_rank(), dist.get_world_size())


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
