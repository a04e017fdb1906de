"""The places of a model where attention happens, and what queries and keys are at each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Site", "Stream"]

Stream = Literal["text", "decoder", "vision"]
"""What a token is: of the text, of the decoder's copy of it (shifted right by one), or of an image."""


@dataclass(frozen=True)
class Site:
    """One stack of attention layers.

    Attributes
    ----------
    name : str
        ``"self"`` where a model has a single stack; otherwise ``"encoder"``, ``"decoder"``, ``"cross"``,
        ``"text"``, ``"vision"`` or ``"language"``.
    n_layers : int
        Attention layers of the stack, one for each time that attention is computed (a layer whose weights
        are shared counts as often as it runs).
    n_heads : int
        Query heads of a layer.
    queries, keys : {"text", "decoder", "vision"}
        What the rows and the columns of its attention are.
    layer_numbers : tuple of int
        The number of each attention layer in the model, from 1: in a hybrid whose other layers have no
        softmax attention, the first attention layer may be the model's fourth.
    """

    name: str
    n_layers: int
    n_heads: int
    queries: Stream = "text"
    keys: Stream = "text"
    layer_numbers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.layer_numbers:
            object.__setattr__(self, "layer_numbers", tuple(range(1, self.n_layers + 1)))
