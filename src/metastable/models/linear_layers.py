"""Which library multiplies in the linear layers of a model on the CPU.

Torch gives the products of float32 to Intel's MKL, which takes its widest instructions on Intel's own processors alone:
on another maker's with AVX-512 it leaves half of what they can do unused. OneDNN, which torch brings too, does not.
`benchmarks/extraction.py` times both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

__all__ = ["LinearLibrary", "choose_linear_library", "multiplying"]

# Of a layer with fewer weights the product takes no longer than the call.
_FEWEST_WEIGHTS = 1 << 14


@dataclass(frozen=True)
class LinearLibrary:
    """What multiplies in linear layers.

    Attributes
    ----------
    name : {"oneDNN", "torch"}
        OneDNN, or what torch itself takes.
    reason : str
        Why it is this one.
    """

    name: Literal["oneDNN", "torch"]
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def choose_linear_library(device: torch.device | str, dtype: torch.dtype) -> LinearLibrary:
    """Choose what multiplies in linear layers.

    Parameters
    ----------
    device : torch.device or str
        Where the model is.
    dtype : torch.dtype
        Its weights.

    Returns
    -------
    LinearLibrary
        The same for every model on one machine, so that a count does not depend on how busy it is; torch's own where
        ``torch.backends.mkldnn.flags(enabled=False)`` says so.
    """
    if torch.device(device).type != "cpu":
        return LinearLibrary("torch", "the model is not on the CPU")
    if dtype != torch.float32:
        return LinearLibrary("torch", f"the weights are {str(dtype).removeprefix('torch.')}")
    if not torch.backends.mkldnn.enabled:
        return LinearLibrary("torch", "oneDNN is switched off")
    return _of_this_machine()


@cache
def _of_this_machine() -> LinearLibrary:
    from llvmlite.binding import get_host_cpu_name

    processor = get_host_cpu_name()
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):  # type: ignore[no-untyped-call]
        return LinearLibrary("torch", "torch was built without MKL or without oneDNN")
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return LinearLibrary("torch", f"the processor ({processor}) has no AVX-512")
    if not processor.startswith("znver"):
        return LinearLibrary("torch", f"MKL suits the processor ({processor})")
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return LinearLibrary("torch", f"oneDNN's product is not to be had in torch {torch.__version__}")
    return LinearLibrary("oneDNN", f"MKL does not take the processor's ({processor}) AVX-512")


@contextmanager
def multiplying(device: torch.device | str, dtype: torch.dtype) -> Iterator[None]:
    """Let linear layers multiply by the library that `choose_linear_library` names, for as long as the context lasts.

    Parameters
    ----------
    device, dtype
        As `choose_linear_library` takes them.
    """
    if choose_linear_library(device, dtype).name == "torch":
        yield
        return
    with _ByOneDnn():
        yield


class _ByOneDnn(TorchFunctionMode):
    """Gives the products of linear layers to oneDNN, and leaves all else as it is."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is linear:
            return _linear(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _linear(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:  # noqa: A002
    given = (input, weight) if bias is None else (input, weight, bias)
    plain = all(
        # quantised weights and those spread over machines are classes of their own
        type(tensor) in (torch.Tensor, torch.nn.Parameter)
        and tensor.device.type == "cpu"
        and tensor.dtype == torch.float32
        and tensor.layout == torch.strided
        for tensor in given
    )
    if not plain or weight.numel() < _FEWEST_WEIGHTS or weight.dim() != 2 or input.dim() < 2 or not input.numel():
        return linear(input, weight, bias)
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")
    return product
