"""A model as it was: what a forward pass changes in the modules themselves is taken back before the next one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["keep_state"]

_HELD = ("_buffers", "_modules")


def keep_state(model: torch.nn.Module) -> Callable[[], None]:
    """Remember a model's buffers, submodules and plain attributes, and make a function that puts them back.

    Some models read a sequence by what they read before it: dynamic rotary embeddings keep the frequencies of
    the longest sequence so far. With its state put back, a model reads each batch as one that was just loaded
    does.

    Parameters
    ----------
    model : torch.nn.Module
        Any model. Weights are left alone, since a forward pass does not change them.

    Returns
    -------
    callable
        Puts back what was there when the state was kept.
    """
    kept = [(module, *_state(module)) for module in model.modules()]

    def restore() -> None:
        for module, attributes, held in kept:
            module.__dict__.update(attributes)
            for name, values in held.items():
                module.__dict__[name].clear()
                module.__dict__[name].update(values)

    return restore


def _state(module: torch.nn.Module) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    attributes = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    return attributes, {name: dict(vars(module)[name]) for name in _HELD}
