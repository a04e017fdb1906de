"""Which way attention rows are measured where, and why."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Literal

import torch

from metastable.extraction.kernels import COUNTS
from metastable.extraction.row_measures import Rows

__all__ = ["RowKernel", "choose_row_kernel"]


@dataclass(frozen=True)
class RowKernel:
    """A way to measure rows.

    Attributes
    ----------
    name : {"compiled", "triton", "torch"}
        Compiled loops on the CPU, one Triton kernel on a card, or torch operations on any device.
    reason : str
        Why it is this one.
    """

    name: Literal["compiled", "triton", "torch"]
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def choose_row_kernel(device: torch.device, n_keys: int) -> RowKernel:
    """Choose how rows are measured.

    Parameters
    ----------
    device : torch.device
        Where they are.
    n_keys : int
        The most keys of a row.

    Returns
    -------
    RowKernel
        Triton's where there are Triton and a CUDA device that runs its kernel.
    """
    if device.type == "cpu":
        return RowKernel("compiled", "the rows are on the CPU")
    if device.type != "cuda":
        return RowKernel("torch", f"Triton's kernel is for CUDA devices, not for {device.type!r}")
    if find_spec("triton") is None:
        return RowKernel("torch", "Triton is not installed; run: pip install triton")
    from metastable.extraction.triton_rows import MOST_KEYS

    in_parts = n_keys > MOST_KEYS
    fault = _fault_of_triton(device, in_parts)
    if fault:
        return RowKernel("torch", fault)
    reason = f"Triton runs on {torch.cuda.get_device_name(device)}"
    if in_parts:
        reason += f"; a row has up to {n_keys:,} keys, and one of more than {MOST_KEYS:,} is measured in parts"
    return RowKernel("triton", reason)


@cache
def _fault_of_triton(device: torch.device, in_parts: bool) -> str:
    """Say why Triton's kernel, or that of rows in parts, does not run on a device; nothing where it does."""
    try:
        from metastable.extraction.triton_rows import softmax_and_measure

        scores = torch.zeros(1, 1, 1, 2, device=device)
        asked = torch.ones(1, 1, dtype=torch.bool, device=device)
        counts = torch.zeros(1, 1, 1, 1, 1, dtype=torch.int32, device=device)
        masses = torch.empty(0, 1, 1, 1, device=device)
        rows = Rows((0.9,), (COUNTS[0],), None, None, asked, None, None, None)
        softmax_and_measure(scores, scores, 1.0, rows, counts, masses, in_parts=in_parts)
        count = int(counts.item())
    except Exception as error:  # a compiler and a driver may raise anything
        said = " ".join(str(error).split())[:150].rstrip(".")
        return f"Triton's kernel does not run on {device} ({type(error).__name__}: {said})"
    return "" if count == 2 else f"Triton's kernel counts {count} of two equal keys on {device}, where 2 are needed"
