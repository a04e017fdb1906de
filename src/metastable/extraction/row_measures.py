"""What is measured of attention rows, by torch operations on any device."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import NoReturn

import torch

from metastable.errors import InputError
from metastable.extraction.kernels import COUNTS, MASSES
from metastable.extraction.mass import count_entries

__all__ = [
    "N_VISIBLE",
    "ROW_MEASURES",
    "Rows",
    "check_wanted",
    "lengths_if_finite",
    "measure_rows",
    "refuse_values",
    "value_lengths",
]

N_VISIBLE = "n_visible"
"""The number of keys that a row's query sees, by which its count can be divided."""

ROW_MEASURES = (*COUNTS, *MASSES, N_VISIBLE)
"""What can be measured of a row while it is in the cache."""

_OF_WORDS = ("count_words", "special_mass")


@dataclass(frozen=True)
class Rows:
    """What the rows of a layer, or of a tile of it, are measured by.

    Attributes
    ----------
    shares : tuple of float
        The thresholds.
    names : tuple of str
        The measures, as `check_wanted` gives them.
    visible : torch.Tensor or None
        Boolean, of four axes that broadcast to (batch, heads, queries, keys): False hides a key.
    bias : torch.Tensor or None
        float32, of four axes likewise: added to the scores.
    asked : torch.Tensor
        (batch, queries) boolean: the rows that are measured.
    sinks : torch.Tensor or None
        (heads,) scores of learned sinks.
    word_keys : torch.Tensor or None
        (batch, keys) boolean: the pieces of words.
    lengths : torch.Tensor or None
        (batch, heads, keys) float32, as `value_lengths` gives them.
    others : torch.Tensor or None
        Of a graphics card alone, as `metastable.extraction.triton_rows.list_others` gives them: the keys that are no
        words, where they are few.
    """

    shares: tuple[float, ...]
    names: tuple[str, ...]
    visible: torch.Tensor | None
    bias: torch.Tensor | None
    asked: torch.Tensor
    sinks: torch.Tensor | None
    word_keys: torch.Tensor | None
    lengths: torch.Tensor | None
    others: torch.Tensor | None = None

    @property
    def needed_words(self) -> torch.Tensor | None:
        """The keys of words where something that is measured needs them."""
        return None if set(_OF_WORDS).isdisjoint(self.names) else self.word_keys

    def cut(self, b: slice, h: slice, q: slice) -> Rows:
        """Cut out the rows of a tile."""
        return replace(
            self,
            visible=_tile(self.visible, b, h, q),
            bias=_tile(self.bias, b, h, q),
            asked=self.asked[b, q],
            sinks=None if self.sinks is None else self.sinks[h],
            word_keys=None if self.word_keys is None else self.word_keys[b],
            lengths=None if self.lengths is None else self.lengths[b, h],
            others=None if self.others is None else self.others[b],
        )


def _tile(tensor: torch.Tensor | None, *cut: slice) -> torch.Tensor | None:
    if tensor is None:
        return None
    return tensor[tuple(part if n > 1 else slice(None) for part, n in zip(cut, tensor.shape, strict=False))]


def check_wanted(wanted: Collection[str], word_keys: torch.Tensor | None) -> tuple[str, ...]:
    """Check the names of wanted measures.

    Parameters
    ----------
    wanted : collection of str
        Of `ROW_MEASURES`.
    word_keys : torch.Tensor or None
        The pieces of words.

    Returns
    -------
    tuple of str
        The counts and masses among them, in the order of `ROW_MEASURES`; ``"count"`` is always there.

    Raises
    ------
    InputError
        If a name is unknown, or a measure needs the pieces of words and there are none.
    """
    for name in wanted:
        if name not in ROW_MEASURES:
            raise InputError(f"row measure {name!r} is unknown; choose of {', '.join(ROW_MEASURES)}")
        if name in _OF_WORDS and word_keys is None:
            raise InputError(f"row measure {name!r} needs the keys of words; give word_keys")
    return tuple(name for name in (*COUNTS, *MASSES) if name in wanted or name == "count")


def value_lengths(value: torch.Tensor) -> torch.Tensor:
    """Lengths of the values, relative to the longest of their head.

    Parameters
    ----------
    value : torch.Tensor
        (batch, key heads, keys, size), any float dtype.

    Returns
    -------
    torch.Tensor
        (batch, key heads, keys) float32, at most 1; a head whose values are all zero has zeros.

    Raises
    ------
    InputError
        If a value is NaN or infinite.
    """
    lengths, finite = lengths_if_finite(value)
    if not bool(finite):
        refuse_values()
    return lengths


def lengths_if_finite(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As `value_lengths`, with whether the values are finite, which no device is waited for to tell.

    Returns
    -------
    lengths : torch.Tensor
        (batch, key heads, keys) float32.
    finite : torch.Tensor
        One boolean, on the device of the values.
    """
    value = value.float()
    # Squares of the largest values are then at most one.
    largest = value.abs().amax(dim=(-2, -1), keepdim=True)
    lengths: torch.Tensor = torch.linalg.vector_norm(value / largest.masked_fill(largest == 0, 1.0), dim=-1)
    longest = lengths.amax(dim=-1, keepdim=True)
    return lengths / longest.masked_fill(longest == 0, 1.0), largest.isfinite().all()


def refuse_values() -> NoReturn:
    """Refuse a model whose values are not finite.

    Raises
    ------
    InputError
    """
    raise InputError("the model's attention values are NaN or infinite; load it in float32, or check its weights")


def measure_rows(
    weights: torch.Tensor, on_keys: torch.Tensor, on_sink: torch.Tensor, empty: torch.Tensor, rows: Rows
) -> dict[str, torch.Tensor]:
    """Measure rows of weights.

    Parameters
    ----------
    weights : torch.Tensor
        (batch, heads, queries, keys) float32, finite and not negative; counts are relative to a row's own sum.
    on_keys : torch.Tensor
        (batch, heads, queries, 1) factor that makes the weights shares of the softmax with its sink.
    on_sink : torch.Tensor
        (batch, heads, queries, 1) share of the softmax that is on the sink.
    empty : torch.Tensor
        (batch, heads, queries, 1) boolean: rows that have no masses.
    rows : Rows
        What is measured.

    Returns
    -------
    dict of str to torch.Tensor
        As `metastable.extraction.fused.Measured` has them.
    """
    ways: dict[str, Callable[[], torch.Tensor]] = {
        "count": lambda: count_entries(weights, rows.shares),
        "count_words": lambda: count_entries(weights, rows.shares, key_mask=_of_keys(rows.word_keys)),
        "count_contributions": lambda: count_entries(weights * _of_keys(rows.lengths), rows.shares),
        "special_mass": lambda: weights.masked_fill(_of_keys(rows.word_keys), 0.0).sum(-1, keepdim=True) * on_keys,
        "first_mass": lambda: weights[..., :1] * on_keys,
        "sink_mass": lambda: on_sink,
    }
    unasked = ~rows.asked[:, None, :, None]
    values: dict[str, torch.Tensor] = {}
    for name in rows.names:
        if name in COUNTS:
            values[name] = ways[name]().masked_fill_(unasked, 0)
        else:
            values[name] = ways[name]().masked_fill(empty | unasked, torch.nan)[..., 0]
    return values


def _of_keys(tensor: torch.Tensor | None) -> torch.Tensor:
    """Give (batch, keys) or (batch, heads, keys) the axes of (batch, heads, queries, keys)."""
    if tensor is None:
        raise ValueError("a measure lacks what it needs")
    return tensor[:, None, None, :] if tensor.ndim == 2 else tensor[:, :, None, :]
