"""The one error that a user can mend: bad input, told in one sentence."""

import difflib
from collections.abc import Iterable

__all__ = ["InputError", "did_you_mean", "nearest", "one_line", "plural"]


class InputError(ValueError):
    """Bad input: the message names what was given, where, and what would do.

    The command line prints the message alone and exits with code 2; in a notebook it is a
    `ValueError` like any other.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like one that is not known; empty if none is near.

    Examples
    --------
    >>> nearest("--max-lenght", ["--max-length", "--model"])
    '--max-length'
    """
    near = difflib.get_close_matches(name.lower(), list(known), n=1)
    return near[0] if near else ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the clause that offers the nearest of the known names; empty if none is near.

    Examples
    --------
    >>> did_you_mean("permutation", ["permutations", "alpha"])
    "did you mean 'permutations'? "
    """
    near = nearest(name, known)
    return f"did you mean {near!r}? " if near else ""


def one_line(said: object, most: int = 160) -> str:
    r"""Return what something says as one line of at most `most` characters, for a clause of a sentence.

    Examples
    --------
    >>> one_line("Couldn't read.\n  At 3.\n", 12)
    "Couldn't rea…"
    """
    line = " ".join(str(said).split())
    return line if len(line) <= most else f"{line[:most]}…"


def plural(n: int, one: str, many: str | None = None) -> str:
    """Return the number with its noun in the right form.

    Examples
    --------
    >>> plural(1, "head"), plural(72, "head")
    ('1 head', '72 heads')
    """
    return f"{n:,} {one if n == 1 else (many or one + 's')}"
