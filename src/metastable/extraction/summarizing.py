"""What is made of an attention row: which tokens query, which keys count, and the pass that measures the row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

import torch

from metastable.errors import InputError
from metastable.extraction.kernels import COUNTS, MASSES
from metastable.extraction.mass import count_entries
from metastable.extraction.row_measures import value_lengths
from metastable.measures import COUNT, LEARNED_SINK, SHARE, VALUES, Need, Rows, known_measures, measure_named
from metastable.models.sites import Site, Stream

if TYPE_CHECKING:
    import metastable.study as study
    from metastable.models.encoders import Encoder

__all__ = [
    "RowOptions",
    "check_model",
    "check_needs",
    "check_row_options",
    "check_sites",
    "keep_word_keys",
    "measures_of_run",
    "select_queries",
    "sum_word_mass",
    "summarize_rows",
]

Queries = Literal["all", "words", "special"]
Keys = Literal["all", "words"]
Unit = Literal["tokens", "words"]

_WHILE_ATTENDING = frozenset({*COUNTS, *MASSES, SHARE.name})
"""What a pass that attends and measures together gives."""


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
        Names of `metastable.measures`: what is stored beside the count.
    """

    queries: Queries = "all"
    keys: Keys = "all"
    unit: Unit = "tokens"
    measures: tuple[str, ...] = ()

    @property
    def needs_no_weights(self) -> bool:
        """Whether rows are taken as they are, and all that is wanted of them can be had while the model attends."""
        return self.keys == "all" and self.unit == "tokens" and _WHILE_ATTENDING.issuperset(self.measures)


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
    ):
        if value not in allowed:
            raise InputError(f"{name} {value!r} is unknown; choose one of {', '.join(allowed)}")
    asked = {measure_named(measure).name for measure in measures} - {COUNT.name}
    extra = tuple(name for name in known_measures().measures if name in asked)
    return RowOptions(queries, keys, unit, extra)  # type: ignore[arg-type]


def _lacking_in_sequences(name: str, sequences: Sequence[study.Sequence], met: set[Need]) -> Iterator[tuple[str, str]]:
    """Say what sequences lack for a measure, each time with what would do; `met` gathers what they do not lack."""
    for need in measure_named(name).needs:
        if need in met:
            continue
        lacking = next((sequence for sequence in sequences if not need.is_met(sequence)), None)
        if lacking is None:
            met.add(need)
        else:
            yield f"needs a {need.what}, and sequence {lacking.identifier!r} has no {need.what}", need.remedy


def _lacking_in_model(name: str, encoder: Encoder) -> Iterator[tuple[str, str]]:
    """Say what a model lacks for a measure, each time with what would do."""
    for need in measure_named(name).needs_of_model:
        if not need.is_met(encoder):
            yield f"needs {need.what}, and the model {need.lacking}", "another --model"


def lacking_for(
    name: str, encoder: Encoder, sequences: Sequence[study.Sequence], met: set[Need] | None = None
) -> Iterator[tuple[str, str]]:
    """Say what sequences or model lack for a measure, after its name, each time with what would do.

    What all sequences were found to have is gathered in `met`, and not looked for again.
    """
    yield from _lacking_in_sequences(name, sequences, set() if met is None else met)
    yield from _lacking_in_model(name, encoder)


def _refuse(name: str, lacking: Iterable[tuple[str, str]]) -> None:
    for clause, remedy in lacking:
        raise InputError(f"the measure {name} {clause}; choose another --measure, or {remedy}")


def check_needs(measures: Iterable[str], sequences: Sequence[study.Sequence]) -> None:
    """Refuse sequences that lack what measures of their rows need.

    Raises
    ------
    InputError
        Naming the measure, the first such sequence, and what would do.
    """
    met: set[Need] = set()
    for name in measures:
        _refuse(name, _lacking_in_sequences(name, sequences, met))


def check_model(measures: Iterable[str], encoder: Encoder) -> None:
    """Refuse a model that lacks what measures of its rows need.

    Raises
    ------
    InputError
        Naming the measure and what the model lacks.
    """
    for name in measures:
        _refuse(name, _lacking_in_model(name, encoder))


def measures_of_run(
    compared: Sequence[str], encoder: Encoder, sequences: Sequence[study.Sequence]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Find what a run takes of every row: what it compares, and what every run takes where it can be had.

    Parameters
    ----------
    compared : sequence of str
        Names of the measures that the run compares whatever the model.
    encoder : Encoder
        The model.
    sequences : sequence of Sequence
        What it reads.

    Returns
    -------
    measures : tuple of str
        What is compared, then the others.
    left_out : dict of str to str
        Of each measure of every run that cannot be had why, after "the measure count_words"; no model is held to
        lack a learned sink.
    """
    measures, left_out = list(compared), {}
    met: set[Need] = set()
    for name, measure in known_measures().measures.items():
        if not measure.in_every_run or name in compared:
            continue
        lacking = list(lacking_for(name, encoder, sequences, met))
        if not lacking:
            measures.append(name)
        elif LEARNED_SINK not in measure.needs_of_model:
            left_out[name] = lacking[0][0]
    return tuple(measures), left_out


def check_sites(measures: Iterable[str], sites: Iterable[Site]) -> None:
    """Refuse measures that have no value at a site of the model, where they are to be compared.

    Raises
    ------
    InputError
        Naming the measure and the site.
    """
    for name in measures:
        without = next((site for site in sites if not measure_named(name).has_values_at(site)), None)
        if without is not None:
            raise InputError(
                f"the measure {name} has no value at site {without.name!r}, where queries are of the stream "
                f"{without.queries!r} and keys of {without.keys!r}; choose another --measure, or a model without such "
                "a site"
            )


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


def summarize_rows(
    weights: torch.Tensor,
    thresholds: Sequence[float],
    site: Site,
    asked: torch.Tensor,
    words: Mapping[Stream, torch.Tensor],
    options: RowOptions,
    targets: Mapping[Stream, torch.Tensor] | None = None,
    values: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """Summarize every row of one layer's attention in one pass.

    Parameters
    ----------
    weights : torch.Tensor
        (batch, heads, queries, keys) float32, rows sum to 1, or to less where a learned sink takes part in the
        softmax; keys that a query does not see weigh 0.
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
        (batch, tokens) the span of the words that the study is about, 1 or 2, that each token is a piece of; 0
        for none. A stream that has none is not there.
    values : torch.Tensor, optional
        (batch, heads, keys, size): what the weights are multiplied with, for measures that need it.

    Returns
    -------
    dict of str to torch.Tensor
        ``count`` (batch, heads, queries, thresholds) int32, and each further measure, (batch, heads, queries) or with
        a last axis of thresholds. Where nothing is asked, and where no mass is left to the keys that count, whole
        numbers are 0 and floats NaN.
    """
    kept = weights
    if options.keys == "words":
        kept = keep_word_keys(kept, words[site.keys])
    if options.unit == "words":
        kept = sum_word_mass(kept, words[site.keys])
    count = partial(count_entries, thresholds=thresholds)
    of_values = any(VALUES in measure_named(name).needs_of_model for name in options.measures)
    lengths = value_lengths(values) if of_values and values is not None else None
    spans = dict(targets or {})
    targeted = {stream: span > 0 for stream, span in spans.items()}
    rows = Rows(weights, kept, site, asked, words, targeted, count, lengths, spans)
    counts = COUNT.of_rows(rows) * asked[:, None, :, None]
    nothing = counts[..., 0] == 0
    summary = {COUNT.name: counts}
    for name in options.measures:
        measure = measure_named(name)
        blank = nothing[..., None] if measure.of_threshold else nothing
        summary[name] = measure.of_rows(rows).masked_fill(blank, 0 if measure.whole else torch.nan)
    return summary
