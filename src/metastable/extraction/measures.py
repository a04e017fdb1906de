"""What is made of an attention row: which tokens query, which keys count, and the summaries of the row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from metastable.errors import InputError
from metastable.extraction.mass import count_entries
from metastable.models.sites import Site, Stream

__all__ = [
    "MEASURES",
    "RowOptions",
    "check_row_options",
    "effective_number",
    "keep_word_keys",
    "row_entropy",
    "select_queries",
    "sum_word_mass",
    "summarize_rows",
]

Queries = Literal["all", "words", "special"]
Keys = Literal["all", "words"]
Unit = Literal["tokens", "words"]

MEASURES = ("entropy", "effective_number", "largest_weight", "special_mass", "self_mass", "target_mass")
"""Summaries of a row that can be stored beside the count."""


@dataclass(frozen=True)
class RowOptions:
    """Which rows are summarized, and how.

    Attributes
    ----------
    queries : {"all", "words", "special"}
        The tokens whose rows count: all, the pieces of words, or the special tokens.
    keys : {"all", "words"}
        The keys that count: ``"words"`` drops the special tokens, which many heads use as a sink (Clark et
        al. 2019), and renormalizes the rest of the row.
    unit : {"tokens", "words"}
        ``"words"`` sums the mass of each word's pieces before anything is counted; a special token is a
        unit of its own.
    measures : tuple of str
        Of `MEASURES`: what is stored beside the count.
    """

    queries: Queries = "all"
    keys: Keys = "all"
    unit: Unit = "tokens"
    measures: tuple[str, ...] = ()

    @property
    def needs_counts_alone(self) -> bool:
        """Whether the rows are counted as they are, and nothing else is wanted of them."""
        return self.keys == "all" and self.unit == "tokens" and not self.measures


def check_row_options(
    queries: str = "all", keys: str = "all", unit: str = "tokens", measures: Sequence[str] = ()
) -> RowOptions:
    """Make row options of strings; ``"count"`` among the measures is always there and may be named.

    Raises
    ------
    InputError
        If one is unknown.
    """
    for name, value, allowed in (
        ("queries", queries, get_args(Queries)),
        ("keys", keys, get_args(Keys)),
        ("unit", unit, get_args(Unit)),
        *(("measure", measure, ("count", *MEASURES)) for measure in measures),
    ):
        if value not in allowed:
            raise InputError(f"{name} {value!r} is unknown; choose one of {', '.join(allowed)}")
    extra = tuple(measure for measure in MEASURES if measure in measures)
    return RowOptions(queries, keys, unit, extra)  # type: ignore[arg-type]


def select_queries(word_index: torch.Tensor, present: torch.Tensor, queries: Queries) -> torch.Tensor:
    """Mark the tokens whose rows are summarized.

    Parameters
    ----------
    word_index : torch.Tensor
        (batch, tokens) the word of each token; -1 for a special one.
    present : torch.Tensor
        (batch, tokens) boolean, False for padding.
    queries : {"all", "words", "special"}
        Which of them.

    Returns
    -------
    torch.Tensor
        (batch, tokens) boolean.
    """
    if queries == "words":
        return present & (word_index >= 0)
    if queries == "special":
        return present & (word_index < 0)
    return present


def keep_word_keys(weights: torch.Tensor, word_index: torch.Tensor) -> torch.Tensor:
    """Take the special tokens from the keys and renormalize the rows.

    Parameters
    ----------
    weights : torch.Tensor
        (batch, heads, queries, keys), padding weighs 0.
    word_index : torch.Tensor
        (batch, keys) the word of each key; -1 for a special one.

    Returns
    -------
    torch.Tensor
        Same shape; a row without mass on words stays 0.
    """
    kept = weights * (word_index >= 0)[:, None, None, :]
    total = kept.sum(dim=-1, keepdim=True)
    return kept / total.masked_fill(total == 0, 1.0)


def sum_word_mass(weights: torch.Tensor, word_index: torch.Tensor) -> torch.Tensor:
    """Sum the mass of each word's pieces.

    Parameters
    ----------
    weights : torch.Tensor
        (batch, heads, queries, keys).
    word_index : torch.Tensor
        (batch, keys) the word of each key; a key with -1 is a unit of its own.

    Returns
    -------
    torch.Tensor
        (batch, heads, queries, units): the words, then the keys that are of no word.
    """
    alone = word_index < 0
    n_words = word_index.amax(dim=-1, keepdim=True) + 1
    unit = torch.where(alone, n_words + alone.cumsum(dim=-1) - 1, word_index)
    membership = torch.nn.functional.one_hot(unit).to(weights.dtype)
    return torch.matmul(weights, membership[:, None])


def row_entropy(weights: torch.Tensor) -> torch.Tensor:
    """Shannon entropy of each row in nats, - sum p log p; 0 log 0 is 0."""
    entropy: torch.Tensor = torch.special.entr(weights).sum(dim=-1)
    return entropy


def effective_number(weights: torch.Tensor) -> torch.Tensor:
    """Effective number of entries, exp(entropy): n for a uniform row of n (Hill 1973, order 1)."""
    return row_entropy(weights).exp()


def summarize_rows(
    weights: torch.Tensor,
    thresholds: Sequence[float],
    site: Site,
    asked: torch.Tensor,
    words: Mapping[Stream, torch.Tensor],
    options: RowOptions,
    targets: Mapping[Stream, torch.Tensor] | None = None,
) -> dict[str, torch.Tensor]:
    """Summarize every row of one layer's attention in one pass.

    Parameters
    ----------
    weights : torch.Tensor
        (batch, heads, queries, keys) float32, rows sum to 1, keys that a query does not see weigh 0.
    thresholds : sequence of float
        Shares of a row's mass.
    site : Site
        What the queries and the keys are.
    asked : torch.Tensor
        (batch, queries) boolean: the rows that count.
    words : mapping of stream to torch.Tensor
        (batch, tokens) the word of each token of the stream; -1 for a special token and for padding.
    options : RowOptions
        What is kept of a row and which summaries are made.
    targets : mapping of stream to torch.Tensor, optional
        (batch, tokens) boolean: the pieces of the words that the study is about; a stream that has none is
        not there.

    Returns
    -------
    dict of str to torch.Tensor
        ``count`` (batch, heads, queries, thresholds) int32, 0 where nothing is asked; and each further
        measure (batch, heads, queries) float32, NaN where nothing is asked. ``special_mass``,
        ``self_mass`` and ``target_mass`` are shares of the whole row, whatever keys count. ``self_mass`` is NaN
        at a cross site, where no key is the query; ``target_mass``, what the target receives from the other
        tokens, is NaN at queries of the target itself, and where no key is of the target's stream.
    """
    targets = targets or {}
    rows = weights
    if options.keys == "words":
        rows = keep_word_keys(rows, words[site.keys])
    if options.unit == "words":
        rows = sum_word_mass(rows, words[site.keys])
    count = count_entries(rows, thresholds) * asked[:, None, :, None]
    summary = {"count": count}
    nothing = count[..., 0] == 0
    for measure in options.measures:
        if measure == "entropy":
            value = row_entropy(rows)
        elif measure == "effective_number":
            value = effective_number(rows)
        elif measure == "largest_weight":
            value = rows.amax(dim=-1)
        elif measure == "special_mass":
            value = (weights * (words[site.keys] < 0)[:, None, None, :]).sum(dim=-1)
        elif measure == "target_mass":
            value = _target_mass(weights, site, targets)
        elif site.queries == site.keys:
            value = weights.diagonal(dim1=-2, dim2=-1)
        else:
            value = torch.full_like(weights[..., 0], torch.nan)
        summary[measure] = value.masked_fill(nothing, torch.nan)
    return summary


def _target_mass(weights: torch.Tensor, site: Site, targets: Mapping[Stream, torch.Tensor]) -> torch.Tensor:
    """Mass of each row on the target's keys, shape (batch, heads, queries)."""
    keys, queries = targets.get(site.keys), targets.get(site.queries)
    if keys is None:
        return torch.full_like(weights[..., 0], torch.nan)
    mass = (weights * keys[:, None, None, :]).sum(dim=-1)
    return mass if queries is None else mass.masked_fill(queries[:, None, :], torch.nan)
