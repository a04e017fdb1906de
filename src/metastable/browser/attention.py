"""The attention of few chosen heads over few chosen sequences, with the tokens as a reader knows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from metastable.extraction.batches import Batch, plan_batches
from metastable.extraction.counting import Reader, choose_part, sites_of_part
from metastable.extraction.mass import count_entries
from metastable.models.capture import LayerAttention, reading
from metastable.models.encoders import fit_lengths

if TYPE_CHECKING:
    from metastable.models.encoders import Encoder, Tokenizer
    from metastable.models.sites import Site, Stream
    from metastable.study import Sequence

__all__ = ["Attend", "Head", "HeadAttention", "Token", "attention_of", "text_tokens"]

Head = tuple[str, int, int]
"""Site, number of the layer in the model, and head; the last two from 1."""


@dataclass(frozen=True)
class Token:
    """One token as a reader sees it.

    Attributes
    ----------
    text : str
        The word, or the piece of it, without the marks of the vocabulary.
    word : int
        Position of its word in the sequence; -1 for a special token or a part of an image.
    """

    text: str
    word: int = -1


@dataclass(frozen=True)
class HeadAttention:
    """What one head attends to in one sequence.

    Attributes
    ----------
    sequence : int
        Position of the sequence in the list that was asked about.
    head : (str, int, int)
        Site, layer and head.
    queries, keys : tuple of Token
        What the rows and the columns are.
    weights : ndarray of float32, shape (n_queries, n_keys)
        Rows sum to 1.
    counts : ndarray of int32, shape (n_queries, n_thresholds)
        How many of the largest weights of each row reach each threshold.
    """

    sequence: int
    head: Head
    queries: tuple[Token, ...]
    keys: tuple[Token, ...]
    weights: NDArray[np.float32] = field(repr=False)
    counts: NDArray[np.int32] = field(repr=False)


Attend = Callable[[Mapping[int, SequenceOf[Head]]], Iterator[HeadAttention]]
"""Gives the attention of the heads that are asked for, sequence by sequence, in any order."""


def text_tokens(sequence: Sequence, tokenizer: Tokenizer) -> tuple[Token, ...]:
    """Return the tokens of a sequence as a reader knows them.

    Parameters
    ----------
    sequence : Sequence
        With words and token ids.
    tokenizer : Tokenizer
        The tokenizer that made the ids.

    Returns
    -------
    tuple of Token
        A word of one piece is spelled as in the sequence; of several, as the vocabulary spells them.
    """
    pieces = np.bincount([word for word in sequence.word_index if word >= 0], minlength=len(sequence.words))
    return tuple(
        Token(sequence.words[word], word)
        if word >= 0 and pieces[word] == 1
        else Token(_plain(spelled, tokenizer), word)
        for spelled, word in zip(tokenizer.tokens(sequence.token_ids), sequence.word_index, strict=True)
    )


def _plain(spelled: str, tokenizer: Tokenizer) -> str:
    """Strip the marks by which vocabularies tell pieces from words."""
    if spelled.startswith("##") and len(spelled) > 2:
        return spelled[2:]
    text = str(tokenizer.backend.convert_tokens_to_string([spelled])).strip()
    return text or spelled


def attention_of(
    encoder: Encoder,
    sequences: SequenceOf[Sequence],
    *,
    thresholds: SequenceOf[float] = (0.9,),
    batch_tokens: int = 4096,
    features: Mapping[str, NDArray[Any]] | None = None,
) -> Attend:
    """Make a function that runs chosen sequences again and keeps the attention of chosen heads.

    Parameters
    ----------
    encoder : Encoder
        The model.
    sequences : sequence of Sequence
        All sequences of the study.
    thresholds : sequence of float
        Shares of a row's mass for the counts.
    batch_tokens : int
        The most tokens of a batch, padding included.
    features : mapping of str to ndarray, optional
        Inputs that are no tokens, as for `metastable.extraction.extract`.

    Returns
    -------
    callable
        ``attend({position: [(site, layer, head), ...], ...})`` yields one `HeadAttention` for each. Only
        the weights of one batch are held at a time.
    """
    given = dict(features or {})

    def attend(wanted: Mapping[int, SequenceOf[Head]]) -> Iterator[HeadAttention]:
        positions = np.array(sorted(wanted), dtype=np.intp)
        if not len(positions):
            return
        part = choose_part(encoder, sequences, given)
        fitted = fit_lengths(encoder, [len(sequence.token_ids) for sequence in sequences])
        depths = _depths(sites_of_part(fitted.sites, part), [wanted[position] for position in positions])
        for depth in np.unique(depths):
            alike = positions[depths == depth]
            lengths = np.array([len(sequences[position].token_ids) for position in alike])
            with reading(fitted.model, fitted.way, part=part, n_layers=int(depth)) as read:
                reader = Reader(fitted, sequences, given, read)
                for rows in plan_batches(lengths, batch_tokens, pads=fitted.pads):
                    yield from _read_batch(reader, alike[rows], wanted, thresholds)

    return attend


def _depths(sites: tuple[Site, ...], wanted: SequenceOf[SequenceOf[Head]]) -> NDArray[np.intp]:
    """After how many layers of a forward pass each sequence has shown the heads that are wanted of it."""
    if len(sites) > 1:
        # which site's layer comes when is the model's own affair
        return np.full(len(wanted), sum(site.n_layers for site in sites), dtype=np.intp)
    (site,) = sites
    return np.array([1 + max(site.layer_numbers.index(layer) for _, layer, _ in heads) for heads in wanted])


def _read_batch(
    reader: Reader,
    positions: NDArray[np.intp],
    wanted: Mapping[int, SequenceOf[Head]],
    thresholds: SequenceOf[float],
) -> list[HeadAttention]:
    batch = reader.batch(positions)
    sites = {site.name: site for site in reader.encoder.sites}
    kept: list[HeadAttention] = []

    def keep(layer: LayerAttention) -> None:
        site = sites[layer.site]
        number = site.layer_numbers[layer.layer]
        for row, position in enumerate(positions):
            heads = [head for head in wanted[position] if head[:2] == (site.name, number)]
            if heads:
                kept.extend(_read_row(reader, batch, site, layer.weights[row], row, int(position), heads, thresholds))

    reader.read(batch.inputs, keep)
    return kept


def _read_row(
    reader: Reader,
    batch: Batch,
    site: Site,
    weights: torch.Tensor,
    row: int,
    position: int,
    heads: list[Head],
    thresholds: SequenceOf[float],
) -> list[HeadAttention]:
    queries = _present(batch, site.queries, row, weights.shape[1])
    keys = _present(batch, site.keys, row, weights.shape[2])
    labels = [
        _stream_tokens(reader, site_stream, position, shown)
        for site_stream, shown in ((site.queries, queries), (site.keys, keys))
    ]
    chosen = weights[[head - 1 for _, _, head in heads]].cpu()[:, queries][:, :, keys]
    counts = count_entries(chosen, thresholds).numpy()
    return [
        HeadAttention(position, head, labels[0], labels[1], chosen[index].float().numpy(), counts[index])
        for index, head in enumerate(heads)
    ]


def _present(batch: Batch, stream: Stream, row: int, width: int) -> NDArray[np.intp]:
    """Positions of what is there and no padding."""
    present = batch.present.get(stream)
    return np.arange(width) if present is None else np.flatnonzero(present[row].cpu().numpy())


def _stream_tokens(reader: Reader, stream: Stream, position: int, shown: NDArray[np.intp]) -> tuple[Token, ...]:
    tokenizer = reader.encoder.tokenizer
    if stream == "vision" or tokenizer is None:
        return tuple(Token(f"{'region' if stream == 'vision' else 'token'} {place + 1}") for place in shown)
    tokens = text_tokens(reader.sequences[position], tokenizer)
    # A decoder reads the text shifted right by its start token.
    shifted = (Token("start"), *tokens[:-1]) if stream == "decoder" else tokens
    return tuple(shifted[place] for place in shown)
