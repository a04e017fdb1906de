"""The table of measures: how each is taken of an attention row, and what is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metastable.measures.measure import Measure, ModelNeed, Need, Rows, Tokens
from metastable.models.sites import Site

if TYPE_CHECKING:
    import torch

__all__ = [
    "COUNT",
    "LEARNED_SINK",
    "MEASURES",
    "SHARE",
    "SPANS",
    "SPECIAL_TOKENS",
    "TARGETS",
    "VALUES",
    "effective_number",
    "row_entropy",
]


def _has_target(sequence: Tokens) -> bool:
    return any(sequence.target_tokens)


def _has_two_spans(sequence: Tokens) -> bool:
    return {1, 2} <= set(sequence.target_spans)


def _has_special_token(sequence: Tokens) -> bool:
    return min(sequence.word_index, default=0) < 0


TARGETS = Need("target word", "a study whose sequences name their target words", _has_target)
"""The study says which words it is about."""

SPANS = Need("second target", "a study whose sequences name a target in each of two texts", _has_two_spans)
"""The study says which words of either text it is about."""

SPECIAL_TOKENS = Need("special token", "a model whose tokenizer adds special tokens", _has_special_token)
"""The tokenizer adds tokens that are of no word."""


VALUES = ModelNeed(
    "the values that the weights are multiplied with",
    "does not show them, since it is read from the weights that it returns",
    lambda model: model.gives_values,
)
"""The model's attention is read where the values are."""

LEARNED_SINK = ModelNeed("a learned sink in the softmax", "has none", lambda model: model.has_sink)
"""A part of each row's mass goes to no key."""


def _count(rows: Rows) -> torch.Tensor:
    return rows.count(rows.kept)


def _count_words(rows: Rows) -> torch.Tensor:
    return rows.count(rows.weights * ~_are_special(rows))


def _count_contributions(rows: Rows) -> torch.Tensor:
    if rows.lengths is None:
        raise ValueError("the rows lack the lengths of their values")
    return rows.count(rows.weights * rows.lengths[:, :, None, :])


def _share(rows: Rows) -> torch.Tensor:
    # What a head does not see no head of its layer sees; a weight of 0 alone may be a score far below the largest.
    visible = (rows.kept > 0).any(dim=1, keepdim=True).sum(dim=-1, keepdim=True)
    return rows.count(rows.kept) / visible.clamp_min(1)


def row_entropy(weights: torch.Tensor) -> torch.Tensor:
    """Shannon entropy of each row in nats, - sum p log p; 0 log 0 is 0."""
    import torch

    entropy: torch.Tensor = torch.special.entr(weights).sum(dim=-1)
    return entropy


def effective_number(weights: torch.Tensor) -> torch.Tensor:
    """Effective number of entries, exp(entropy): n for a uniform row of n (Hill 1973, order 1)."""
    return row_entropy(weights).exp()


def _renormalized(rows: Rows) -> torch.Tensor:
    total = rows.kept.sum(dim=-1, keepdim=True)
    return rows.kept / total.masked_fill(total == 0, 1.0)


def _entropy(rows: Rows) -> torch.Tensor:
    return row_entropy(_renormalized(rows))


def _effective_number(rows: Rows) -> torch.Tensor:
    return effective_number(_renormalized(rows))


def _largest_weight(rows: Rows) -> torch.Tensor:
    return _renormalized(rows).amax(dim=-1)


def _are_special(rows: Rows) -> torch.Tensor:
    """Whether each key is of no word, (batch, 1, 1, keys)."""
    return (rows.words[rows.site.keys] < 0)[:, None, None, :]


def _special_mass(rows: Rows) -> torch.Tensor:
    return (rows.weights * _are_special(rows)).sum(dim=-1)


def _first_mass(rows: Rows) -> torch.Tensor:
    return rows.weights[..., 0]


def _sink_mass(rows: Rows) -> torch.Tensor:
    return (1 - rows.weights.sum(dim=-1)).clamp_min(0)


def _nowhere(rows: Rows) -> torch.Tensor:
    return rows.weights.new_full(rows.weights.shape[:-1], float("nan"))


def _self_mass(rows: Rows) -> torch.Tensor:
    """Mass on the query's own key; NaN at a cross site, where no key is the query."""
    if rows.site.queries == rows.site.keys:
        return rows.weights.diagonal(dim1=-2, dim2=-1)
    return _nowhere(rows)


def _target_mass(rows: Rows) -> torch.Tensor:
    """Mass on the target's keys; NaN at queries of the target itself, and where no key is of the target's stream."""
    keys, queries = rows.targets.get(rows.site.keys), rows.targets.get(rows.site.queries)
    if keys is None:
        return _nowhere(rows)
    mass = (rows.weights * keys[:, None, None, :]).sum(dim=-1)
    return mass if queries is None else mass.masked_fill(queries[:, None, :], float("nan"))


def _span_mass(rows: Rows) -> torch.Tensor:
    """Mass on the keys of the other span; NaN at queries of neither, and where no key is of the spans' stream."""
    keys, queries = rows.spans.get(rows.site.keys), rows.spans.get(rows.site.queries)
    if keys is None or queries is None:
        return _nowhere(rows)
    first, second = ((rows.weights * (keys == span)[:, None, None, :]).sum(dim=-1) for span in (1, 2))
    asks = queries[:, None, :]
    mass = second * (asks == 1) + first * (asks == 2)
    return mass.masked_fill(asks == 0, float("nan"))


def _attends_to_itself(site: Site) -> bool:
    return site.queries == site.keys


def _reads_text(site: Site) -> bool:
    return site.keys != "vision"


COUNT = Measure(
    name="count",
    of_rows=_count,
    called="count",
    definition="the smallest number of {entries} of its attention row that together hold {share} of the row's mass",
    meaning="the size of the head's metastable state",
    help="how many keys hold the share of the attention that --threshold asks for",
    wider=True,
    unit="{unit}",
    digits=2,
    label="count k, to {share} of the attention",
    cited="Ramsauer et al., 2021",
    of_threshold=True,
    whole=True,
    joint=True,
    in_every_run=True,
    tested_in_every_run=True,
)
"""The founding quantity, which every cube has."""

SHARE = Measure(
    name="share",
    of_rows=_share,
    called="share of the keys",
    definition=(
        "the smallest number of {entries} of its attention row that together hold {share} of the row's mass, divided "
        "by the number of {entries} that the query sees"
    ),
    help="the count over the number of keys that the query sees, which compares lengths and causal layers",
    wider=True,
    label="count over visible keys, to {share} of the attention",
    version=2,
    of_threshold=True,
    in_every_run=True,
)
"""The count relative to what it could be."""

MEASURES = (
    COUNT,
    Measure(
        name="count_contributions",
        of_rows=_count_contributions,
        called="count of contributions",
        definition=(
            "the smallest number of entries that together hold {share} of what the head puts together, where each "
            "entry of its attention row is weighed by the length of its value vector, p|v|, and the row renormalized"
        ),
        meaning="how many patterns enter what the head hands on",
        help="the count over p|v|, the weights times the lengths of the values",
        wider=True,
        unit="tokens",
        digits=2,
        label="count of contributions, to {share} of p|v|",
        cited="Kobayashi et al., 2020",
        of_threshold=True,
        whole=True,
        whole_row=True,
        joint=True,
        needs_of_model=(VALUES,),
        in_every_run=True,
        tested_in_every_run=True,
        gives_way_to="count_words",
        without_sinks=True,
    ),
    Measure(
        name="count_words",
        of_rows=_count_words,
        called="count over words",
        definition=(
            "the smallest number of entries that together hold {share} of its attention row's mass on the pieces of "
            "words, without the special tokens"
        ),
        meaning="how it spreads over what was said",
        help="the count over the pieces of words alone, renormalized",
        wider=True,
        unit="tokens",
        digits=2,
        label="count over words, to {share} of their attention",
        of_threshold=True,
        whole=True,
        whole_row=True,
        joint=True,
        needs=(SPECIAL_TOKENS,),
        in_every_run=True,
        tested_in_every_run=True,
        gives_way_to="count",
        without_sinks=True,
    ),
    SHARE,
    Measure(
        name="entropy",
        of_rows=_entropy,
        called="entropy",
        definition=(
            "the Shannon entropy of its attention row, −Σ p ln p in nats: 0 where all attention lies on one {one}, "
            "ln n where it is spread evenly over n"
        ),
        help="Shannon entropy of the row, in nats",
        wider=True,
        unit="nats",
        version=2,
    ),
    Measure(
        name="effective_number",
        of_rows=_effective_number,
        called="effective number",
        definition=(
            "the exponential of the entropy of its attention row: 1 where all attention lies on one {one}, n where it "
            "is spread evenly over n"
        ),
        help="exponential of the entropy, an effective number of keys",
        wider=True,
        unit="{unit}",
        digits=2,
        cited="Hill, 1973",
        version=2,
        joint=True,
    ),
    Measure(
        name="largest_weight",
        of_rows=_largest_weight,
        called="largest weight",
        definition="the share of the attention that goes to the {one} attended most",
        help="share of the attention on the key attended most",
        version=2,
    ),
    Measure(
        name="special_mass",
        of_rows=_special_mass,
        called="special mass",
        definition="the share of the attention that goes to special tokens",
        help="share of the attention on special tokens",
        whole_row=True,
        needs=(SPECIAL_TOKENS,),
        in_every_run=True,
        tested_in_every_run=True,
        of_sink=True,
    ),
    Measure(
        name="first_mass",
        of_rows=_first_mass,
        called="first mass",
        definition="the share of the attention that goes to the first token",
        help="share of the attention on the first token, the sink of models without special tokens",
        whole_row=True,
        in_every_run=True,
        stands_in_for="special_mass",
        of_sink=True,
    ),
    Measure(
        name="sink_mass",
        of_rows=_sink_mass,
        called="sink mass",
        definition="the share of the attention that goes to the head's learned sink, which is no token",
        help="share of the attention on a learned sink, which is no key",
        whole_row=True,
        needs_of_model=(LEARNED_SINK,),
        in_every_run=True,
    ),
    Measure(
        name="self_mass",
        of_rows=_self_mass,
        called="self mass",
        definition="the share of the attention that the token pays to itself",
        help="share of the attention that a token pays to itself",
        whole_row=True,
        has_values_at=_attends_to_itself,
    ),
    Measure(
        name="target_mass",
        of_rows=_target_mass,
        called="target mass",
        definition="the share of its attention that the study's target words receive from it",
        help="share of the attention on the words that the study names as its targets",
        whole_row=True,
        needs=(TARGETS,),
        has_values_at=_reads_text,
    ),
    Measure(
        name="span_mass",
        of_rows=_span_mass,
        called="mass between targets",
        definition=(
            "the share of its attention that a target word of one text pays to the target words of the other text"
        ),
        help="share of the attention that the targets of either of two texts pay to those of the other",
        whole_row=True,
        needs=(SPANS,),
        has_values_at=_reads_text,
    ),
)
"""The measures that are built in, in the order in which they are listed."""
