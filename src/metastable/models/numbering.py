"""Which of a model's layers an attention belongs to, by the model's own count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch

__all__ = ["RunningLayers", "layer_numbers", "watch_layers"]


class RunningLayers:
    """What is known, while a model runs and after it, of the layer in which a tensor was made."""

    def __init__(self) -> None:
        self._running: list[int] = []
        self._made: dict[int, tuple[torch.Tensor, int]] = {}

    def enter(self, number: int) -> None:
        """Note that a layer begins."""
        self._running.append(number)

    def leave(self) -> None:
        """Note that the layer that began last has ended."""
        self._running.pop()

    def keep(self, output: Any) -> None:
        """Note the layer in which the tensors of a module's output were made."""
        if self._running:
            for value in output if isinstance(output, tuple | list) else (output,):
                if isinstance(value, torch.Tensor):
                    self._made.setdefault(id(value), (value, self._running[0]))

    def number_of(self, weights: torch.Tensor) -> int | None:
        """Return the number of the layer that made a tensor, from 1; of the one that runs, where none is known."""
        _, number = self._made.get(id(weights), (None, self._running[0] if self._running else None))
        return number


@contextmanager
def watch_layers(model: torch.nn.Module) -> Iterator[RunningLayers]:
    """Follow which layer runs: which member of the outermost list of modules.

    Parameters
    ----------
    model : torch.nn.Module
        Any model.

    Yields
    ------
    RunningLayers
        To be asked while the model runs, or for the tensors that it returned.
    """
    running = RunningLayers()
    hooks = []
    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList):
            for place, layer in enumerate(module):
                hooks.append(layer.register_forward_pre_hook(lambda *_, number=place + 1: running.enter(number)))
                hooks.append(layer.register_forward_hook(lambda *_: running.leave()))
        else:
            hooks.append(module.register_forward_hook(lambda _module, _inputs, output: running.keep(output)))
    try:
        yield running
    finally:
        for hook in hooks:
            hook.remove()


def layer_numbers(found: Sequence[int | None]) -> tuple[int, ...]:
    """Give the attention layers of a site the numbers that they have in the model.

    Parameters
    ----------
    found : sequence of int or None
        The number of each attention layer in the model, in the order in which they run.

    Returns
    -------
    tuple of int
        The same where they grow from layer to layer; otherwise (layers that share their weights, stacks
        within stacks) the order in which they run, from 1.
    """
    numbers = [number for number in found if number is not None]
    if len(numbers) == len(found) and all(a < b for a, b in pairwise(numbers)):
        return tuple(numbers)
    return tuple(range(1, len(found) + 1))
