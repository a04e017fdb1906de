"""What is said can be written to any terminal, file or pipe, whatever its encoding."""

from __future__ import annotations

import codecs
from typing import IO

__all__ = ["speak_in_any_encoding"]

_NAME = "metastable"
# Of what the program says; any other character that a stream does not know is written by its number.
_PLAIN = {
    "✓": "+", "−": "-", "–": "-", "—": "-", "×": "x", "…": "...", "·": "*", "∞": "inf", "≤": "<=", "≥": ">=",
    "’": "'", "‘": "'", "“": '"', "”": '"', "│": "|", "─": "-", "━": "-", "╸": "-", "╺": "-",
    "╭": "+", "╮": "+", "╰": "+", "╯": "+", "→": "->",
}  # fmt: skip


def _plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    unknown = error.object[error.start : error.end]
    shown = (_PLAIN.get(letter, letter.encode("ascii", "backslashreplace").decode()) for letter in unknown)
    return "".join(shown), error.end


def speak_in_any_encoding(*streams: IO[str]) -> None:
    """Let streams write what their encoding does not hold in letters that it does.

    Parameters
    ----------
    *streams : text files
        Those that are no stream of the system, as in notebooks, stay as they are.
    """
    codecs.register_error(_NAME, _plainly)
    for stream in streams:
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=_NAME)
