"""Sequences that a model cannot read, or that lack what is asked of their rows, are refused before any is read."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from typing import TYPE_CHECKING

from metastable.errors import InputError
from metastable.extraction.summarizing import RowOptions, check_model, check_needs
from metastable.models.positions import read_more

if TYPE_CHECKING:
    from metastable.models.encoders import Encoder
    from metastable.study import Sequence

__all__ = ["check_sequences"]


def check_sequences(
    encoder: Encoder, sequences: SequenceOf[Sequence], options: RowOptions, batch_tokens: int | None
) -> None:
    """Refuse sequences that a model cannot read, or that lack what the row options ask for.

    Raises
    ------
    InputError
        Naming the sequence and what would do.
    """
    if not sequences:
        raise InputError("there are no sequences to extract; give at least one")
    if batch_tokens is not None and batch_tokens < 1:
        raise InputError(f"batch_tokens is {batch_tokens}; give at least 1")
    check_needs(options.measures, sequences)
    check_model(options.measures, encoder)
    vocabulary = getattr(encoder.model.config.get_text_config(), "vocab_size", None)
    seen: set[str] = set()
    for sequence in sequences:
        fault = None
        if sequence.identifier in seen:
            fault = "is there twice; give each sequence its own identifier"
        elif len(sequence.token_ids) > encoder.max_length:
            fault = (
                f"has {len(sequence.token_ids)} tokens but model {encoder.model_id!r} reads at most "
                f"{encoder.max_length}; shorten it{read_more(encoder.model.config, encoder.max_length)}"
            )
        elif (unknown := _unknown_id(sequence.token_ids, vocabulary)) is not None:
            fault = (
                f"has token id {unknown} but the vocabulary of model {encoder.model_id!r} "
                f"has {vocabulary} tokens, from 0; tokenize it with the tokenizer of that model"
            )
        elif options.queries == "special" and all(word >= 0 for word in sequence.word_index):
            fault = "has no special token that could query; choose queries all or words"
        elif "words" in (options.queries, options.keys) and all(word < 0 for word in sequence.word_index):
            fault = "has no token of a word; leave it out, or choose queries and keys all"
        if fault is not None:
            raise InputError(f"sequence {sequence.identifier!r} {fault}")
        seen.add(sequence.identifier)


def _unknown_id(token_ids: SequenceOf[int], vocabulary: int | None) -> int | None:
    """Return a token id that a vocabulary does not have; None if it has all of them, or is not known."""
    if not token_ids or vocabulary is None:
        return None
    least, largest = min(token_ids), max(token_ids)
    return least if least < 0 else largest if largest >= vocabulary else None
