"""Running text at a fixed length, two halves of it or two texts: operating modes as the paper has them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from metastable.errors import InputError
from metastable.files import sha256_of
from metastable.material.text_stretches import cut_stretches, may_fill, read_words, stretch_sequences
from metastable.program import typed
from metastable.study import Condition, Material, Option, Options, Sequence, Study
from metastable.study.options import existing_file, natural

if TYPE_CHECKING:
    from metastable.models.encoders import Tokenizer

__all__ = ["STUDY"]

# A test needs as many sequences in each condition.
_LEAST = 2


def _parts(options: Options) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Return the words of either condition, file by file: both halves of each file, or the files of either side."""
    texts = [read_words(path) for path in options.own["text"]]
    if options.own["against"]:
        return texts, [read_words(path) for path in options.own["against"]]
    return [words[: len(words) // 2] for words in texts], [words[len(words) // 2 :] for words in texts]


def _whose(options: Options) -> tuple[str, str]:
    names = [", ".join(Path(path).name for path in options.own[name]) for name in ("text", "against")]
    return (names[0], names[1]) if names[1] else (f"the first half of {names[0]}", f"the second half of {names[0]}")


def _too_short(whose: str, words: int, found: str, options: Options) -> InputError:
    return InputError(
        f"--length {options.own['length']}: {whose} has {words:,} words, {found}; each condition needs {_LEAST} "
        "sequences of that many tokens, so give more text or a smaller --length"
    )


def check(options: Options) -> None:
    """See that there is text, and enough of it whatever the tokenizer."""
    if not options.own["text"]:
        raise InputError(
            f"running_text needs plain text of your own: {typed('running_text', '--text', 'FILE')}; two texts are "
            "compared with --against FILE"
        )
    for whose, parts in zip(_whose(options), _parts(options), strict=True):
        words = [word for part in parts for word in part]
        if not may_fill(words, options.own["length"], _LEAST):
            raise _too_short(whose, len(words), "too few for any tokenizer", options)


def build(options: Options, tokenizer: Tokenizer) -> Material:
    """Cut both parts of the text into sequences of exactly the length."""
    length, most = options.own["length"], options.own["sequences"]
    if length > tokenizer.max_length:
        raise InputError(
            f"--length {length}: {tokenizer.model_id} reads at most {tokenizer.max_length} tokens; give that or less"
        )
    sequences: list[Sequence] = []
    notes: list[str] = []
    sides = zip(STUDY.conditions, _whose(options), _parts(options), strict=True)
    for condition, whose, parts in sides:
        stretches = [stretch for words in parts for stretch in cut_stretches(words, tokenizer, length)]
        n_words = sum(map(len, parts))
        if len(stretches) < _LEAST:
            raise _too_short(whose, n_words, f"which make {len(stretches) or 'none'}", options)
        mine = stretch_sequences(stretches, condition.name, tokenizer, most=most)
        sequences.extend(mine)
        used = sum(len(words) for words, _ in stretches)
        notes.append(
            f"{condition.name}: {whose}, {n_words:,} words, makes {len(stretches):,} sequences of exactly {length} "
            f"tokens; {len(mine):,} are read"
            + (", evenly over the text" if len(mine) < len(stretches) else "")
            + f"; {n_words - used:,} words between sequences and at the end are in none"
        )
    files = (*options.own["text"], *options.own["against"])
    return Material(
        tuple(sequences), tuple(notes), {f"{Path(path).name} SHA-256": sha256_of(Path(path)) for path in files}
    )


STUDY = Study(
    name="running_text",
    title="Operating modes over running text",
    question="In which operating modes are the heads over running text, and do they differ between two parts of it?",
    conditions=(
        Condition("first", "sequences of the first half of each file, or, with --against, of the files of --text"),
        Condition("second", "sequences of the second half of each file, or, with --against, of those files"),
    ),
    build=build,
    # the operating modes are classes of the count
    measure="count",
    check=check,
    options=(
        Option("text", existing_file, (), "plain text files in UTF-8", many=True),
        Option("against", existing_file, (), "files to compare them with (none: the halves of each file)", many=True),
        Option("length", natural, 512, "tokens of every sequence, special ones included"),
        Option("sequences", natural, 100, "most sequences of each condition, evenly over the text"),
    ),
    claims=(),
    caveat=(
        "the sequences of one text follow one another and resemble their neighbours more than draws from all texts "
        "would, so p-values of halves are about this text, and those of two texts about these two; the operating modes "
        "are what this study is for. White space is read as single spaces."
    ),
)
