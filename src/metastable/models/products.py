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

    Parameters
    ----------
    multiplied : list of torch.Tensor, optional
        Gets the first factor of every product, as the model has it.
    """

    def __init__(self, multiplied: list[torch.Tensor] | None = None) -> None:
        super().__init__()
        self._factors: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._multiplied = multiplied

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a function, and remember the factors of a product."""
        if func in _PRODUCTS and len(args) == 2:
            self._keep(args[0])
            self._factors.append((args[0], args[1]))
        elif func is torch.einsum and len(args) == 3:
            self._keep(args[1])
            self._factors += _factors_of_sum(*args)
        return func(*args, **(kwargs or {}))

    def _keep(self, factor: torch.Tensor) -> None:
        if self._multiplied is not None:
            self._multiplied.append(factor)

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
        for is_same in (_is_the_same, _has_the_same_values):
            for left, right in self._factors:
                if left.shape[-1] == n_keys == right.shape[-2] and is_same(left, weights):
                    values = right.reshape(n_batch, -1, n_keys, right.shape[-1])
                    return values.expand(n_batch, n_heads, n_keys, right.shape[-1])
        return None


def _is_the_same(left: torch.Tensor, weights: torch.Tensor) -> bool:
    return left.data_ptr() == weights.data_ptr() and left.numel() == weights.numel()


def _has_the_same_values(left: torch.Tensor, weights: torch.Tensor) -> bool:
    """Whether weights are a copy, as those that a model returns with their axes in another order than it has them."""
    return left.shape == weights.shape and torch.equal(left, weights)


def _factors_of_sum(equation: str, left: torch.Tensor, right: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Order the axes of an einsum's factors as those of a matrix product; nothing where it is none of four axes each.

    Of ``"bnij,jbnd->ibnd"`` the axes j are summed over, b and n are those of both factors and of what they make.
    """
    terms, _, made = equation.replace(" ", "").partition("->")
    first, _, second = terms.partition(",")
    summed = [axis for axis in first if axis in second and axis not in made]
    rows = [axis for axis in first if axis not in second]
    columns = [axis for axis in second if axis not in first]
    shared = [axis for axis in first if axis in second and axis in made]
    if [len(axes) for axes in (shared, rows, summed, columns)] != [2, 1, 1, 1]:
        return []
    left = left.permute([first.index(axis) for axis in (*shared, *rows, *summed)])
    return [(left, right.permute([second.index(axis) for axis in (*shared, *summed, *columns)]))]
