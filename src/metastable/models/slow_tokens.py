"""The word of each token, where the tokenizer itself does not keep track of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metastable.errors import InputError

__all__ = ["count_pieces_slowly", "trace_words"]


def trace_words(backend: Any, text: str, ends: Sequence[int]) -> list[int]:
    """Tell which word each token of a text is a piece of, by tokenizing the words in their context.

    Parameters
    ----------
    backend : transformers.PreTrainedTokenizer
        A tokenizer without a fast version.
    text : str
        The text.
    ends : sequence of int
        End of each word in the text. What stands between two words goes with the second, what stands after
        the last with the last.

    Returns
    -------
    list of int
        For each token of the text, without special tokens, the position of its word.

    Raises
    ------
    InputError
        If a word's tokens depend on the words after it, so that no token is a piece of one word alone.
    """
    tokens = backend.tokenize(text)
    ends = [*ends[:-1], len(text)] if len(ends) else []
    pieces = _pieces_beside_neighbours(backend, text, ends)
    if [token for word in pieces for token in word] != tokens:
        pieces = _pieces_by_beginnings(backend, text, ends, tokens)
    return [index for index, word in enumerate(pieces) for _ in word]


def _pieces_beside_neighbours(backend: Any, text: str, ends: Sequence[int]) -> list[list[str]]:
    """Take each word's tokens from the word before it and itself alone: quick, and right if nothing else matters."""
    pieces: list[list[str]] = []
    starts = [0, 0, *ends]
    for index, end in enumerate(ends):
        before = text[starts[index] : starts[index + 1]].lstrip()
        both = text[starts[index] : end].lstrip()
        pieces.append(backend.tokenize(both)[len(backend.tokenize(before)) if before else 0 :])
    return pieces


def _pieces_by_beginnings(backend: Any, text: str, ends: Sequence[int], tokens: list[str]) -> list[list[str]]:
    """Take each word's tokens from the text up to its end, less the text up to the word before it."""
    pieces: list[list[str]] = []
    done = 0
    for end in ends:
        beginning = backend.tokenize(text[:end])
        if beginning != tokens[: len(beginning)]:
            raise InputError(
                f"the tokenizer {type(backend).__name__} joins {text[:end].split()[-1]!r} with what comes after it in "
                f"{text[:60]!r}, so its tokens cannot be traced to words; give a model with a tokenizer.json"
            )
        pieces.append(beginning[done:])
        done = len(beginning)
    return pieces


def count_pieces_slowly(backend: Any, word: str) -> int:
    """Count the tokens of a word that stands after another one."""
    return len(backend.tokenize(f"a {word}")) - len(backend.tokenize("a"))
