"""Where a model runs: the accelerator that is there, which of several is this process's own, and what it holds."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

from metastable.errors import InputError

__all__ = ["free_memory", "input_device", "is_spread", "local_rank", "resolve_device"]

# What is left of a device's memory is for the attention of the sequences.
_SHARE_FOR_WEIGHTS = 0.8


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


def is_spread(model_id: str, n_bytes: int, device: str) -> bool:
    """Decide whether a model is too large for one device, and so is spread over all that are there.

    Parameters
    ----------
    model_id : str
        What to call the model in an error.
    n_bytes : int
        Size of its weights.
    device : str
        Where it would run, as `resolve_device` gives it.

    Returns
    -------
    bool
        True if the package accelerate is to spread it over accelerators, host memory and disk. Under torchrun
        each process has one device, and nothing is spread.

    Raises
    ------
    InputError
        If the model is too large and accelerate is not installed.
    """
    free = free_memory(device)
    if free is None or local_rank() is not None or n_bytes <= _SHARE_FOR_WEIGHTS * free:
        return False
    if find_spec("accelerate") is None:
        raise InputError(
            f"the weights of model {model_id!r} take {n_bytes / 1e9:.1f} GB and device {device!r} holds "
            f"{free / 1e9:.1f} GB; run: pip install accelerate, which spreads a model over devices, or choose a "
            "smaller dtype or model"
        )
    return True


def free_memory(device: str) -> int | None:
    """Count the bytes that a device has for a model; None where it does not say."""
    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names or "SC_PAGE_SIZE" not in names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def input_device(model: Any) -> str:
    """Name the device where a model takes its input; of one that is spread, where its first weights are.

    Parameters
    ----------
    model : torch.nn.Module
        Any model. Weights that wait in host memory or on disk are brought to where they are needed.

    Returns
    -------
    str
        Such as ``"cpu"`` or ``"cuda:0"``.
    """
    device = next(model.parameters()).device
    return "cpu" if device.type == "meta" else str(device)
