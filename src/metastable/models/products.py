"""The values that attention weights are multiplied with, taken from the product itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["Products"]

_PRODUCTS = {
    torch.matmul,
    torch.bmm,
    torch.Tensor.matmul,
    torch.Tensor.bmm,
    torch.Tensor.__matmul__,
}


class Products(TorchFunctionMode):
    """Remembers the matrix products of a forward pass, so that the values of a layer are found by its weights.

    A model that returns its weights does not return its values, and every architecture makes them in a way of
    its own; but each multiplies the one with the other.
    """

    def __init__(self) -> None:
        super().__init__()
        self._factors: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a function, and remember the factors of a product."""
        if func in _PRODUCTS and len(args) == 2:
            self._factors.append((args[0], args[1]))
        return func(*args, **(kwargs or {}))

    def values_of(self, weights: torch.Tensor) -> torch.Tensor | None:
        """Find what attention weights were multiplied with.

        Parameters
        ----------
        weights : torch.Tensor
            (batch, heads, queries, keys), as the model returned them.

        Returns
        -------
        torch.Tensor or None
            (batch, heads, keys, size); None where the model multiplied the weights in another way.
        """
        if weights.ndim != 4:
            return None
        n_batch, n_heads, _, n_keys = weights.shape
        for left, right in self._factors:
            same = left.data_ptr() == weights.data_ptr() and left.numel() == weights.numel()
            if same and left.shape[-1] == n_keys == right.shape[-2]:
                values = right.reshape(n_batch, -1, n_keys, right.shape[-1])
                return values.expand(n_batch, n_heads, n_keys, right.shape[-1])
        return None
