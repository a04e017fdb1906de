"""Where a model runs: the accelerator that is there, and which of several is this process's own."""

from __future__ import annotations

import os

from metastable.errors import InputError

__all__ = ["local_rank", "resolve_device"]


def resolve_device(device: str) -> str:
    """Turn ``"auto"`` into a device and refuse one that is not there.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "mps"}
        What was asked for.

    Returns
    -------
    str
        The device; under torchrun each process of a host gets a GPU of its own, such as ``"cuda:1"``.

    Raises
    ------
    InputError
        If the device is unknown or unavailable.
    """
    import torch

    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        device = next(name for name, there in available.items() if there)
    if device not in available:
        raise InputError(f"device {device!r} is unknown; choose auto, cpu, cuda or mps")
    if not available[device]:
        there = ", ".join(name for name, here in available.items() if here)
        raise InputError(f"device {device!r} is not available on this machine; choose auto or one of: {there}")
    rank = local_rank()
    if device == "cuda" and rank is not None:
        return f"cuda:{rank % torch.cuda.device_count()}"
    return device


def local_rank() -> int | None:
    """Position of this process on its host, where torchrun started it; it says which GPU to take."""
    rank = os.environ.get("LOCAL_RANK")
    return None if rank is None else int(rank)
