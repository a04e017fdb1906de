"""The options of every study: one typed entry each, and how what is given becomes a value."""

from __future__ import annotations

import math
import os
from collections import ChainMap
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self, cast

from metastable.errors import InputError, nearest
from metastable.files import is_file
from metastable.measures import MEASURE_CHOICES
from metastable.stats.corrections import CORRECTIONS
from metastable.study.entries import Option, declared_options, option
from metastable.typed_json import plain

__all__ = [
    "COMMON_OPTIONS",
    "LEAST_RELABELINGS",
    "MEASURED",
    "MODEL",
    "MOST_RELABELINGS",
    "THE_STUDYS_OWN",
    "Options",
    "check_option",
    "common_option",
    "existing_file",
    "fraction",
    "natural",
    "parse_option",
    "positive",
    "probability",
    "relabelings",
    "seed",
    "share",
]


def natural(text: str) -> int:
    """Parse a whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        raise InputError(f"{text!r} is not a whole number") from None
    if value < 1:
        raise InputError(f"{text} is below 1; give a whole number of at least 1")
    return value


LEAST_RELABELINGS, MOST_RELABELINGS = 19, 10_000_000
"""Relabelings that a permutation test may be asked for: fewer reach no .05, the statistics of more are not held."""


def relabelings(text: str) -> int:
    """Parse a number of relabelings, of which a machine can hold the statistics."""
    value = natural(text)
    if value > MOST_RELABELINGS:
        raise InputError(f"{text} is more than can be held; give at most {MOST_RELABELINGS:,}")
    return value


def seed(text: str) -> int:
    """Parse a whole number of at least 0."""
    try:
        value = int(text)
    except ValueError:
        raise InputError(f"{text!r} is not a whole number") from None
    if value < 0:
        raise InputError(f"{text} is below 0; give a whole number of at least 0")
    return value


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{text!r} is not a number") from None
    if not math.isfinite(value):
        raise InputError(f"{text} is not a finite number")
    return value


def fraction(text: str) -> float:
    """Parse a number in (0, 1], such as a threshold."""
    value = _number(text)
    if not 0 < value <= 1:
        raise InputError(f"{text} lies outside (0, 1]; give a share such as 0.9")
    return value


def probability(text: str) -> float:
    """Parse a number strictly between 0 and 1, such as a significance level."""
    value = _number(text)
    if not 0 < value < 1:
        raise InputError(f"{text} does not lie between 0 and 1; give a level such as 0.05")
    return value


def share(text: str) -> float:
    """Parse a number in [0, 1], such as a rescaled rating."""
    value = _number(text)
    if not 0 <= value <= 1:
        raise InputError(f"{text} lies outside [0, 1]; give a share such as 0.3")
    return value


def positive(text: str) -> float:
    """Parse a number above 0."""
    value = _number(text)
    if value <= 0:
        raise InputError(f"{text} is not above 0; give a positive number")
    return value


def existing_file(text: str) -> str:
    """Take the path of a file that is there."""
    if not is_file(Path(text)):
        raise InputError("there is no such file; give the path of one")
    return text


def _read(option: Option, text: str) -> Any:
    """Parse one value; the error says what would do, and the caller what was given."""
    if option.choices and text not in option.choices:
        near = nearest(text, option.choices)
        hint = f"; did you mean {near!r}?" if near else ""
        raise InputError(f"choose one of {', '.join(option.choices)}{hint}")
    try:
        return option.kind(text)
    except InputError:
        raise
    except ValueError:
        raise InputError("give a value of the kind that --help shows") from None


def parse_option(option: Option, given: str | list[str]) -> Any:
    """Turn what was typed for an option into its value.

    Raises
    ------
    InputError
        Naming the option, what was given and what would do.
    """
    if option.many:
        texts = [part for text in given for part in str(text).split(",") if part.strip()]
        if not texts:
            raise InputError(f"{option.flag} needs at least one value")
        if option.empty and [text.strip() for text in texts] == ["none"]:
            return ()
        return tuple(dict.fromkeys(_parse_one(option, text.strip()) for text in texts))
    return _parse_one(option, str(given))


def _parse_one(option: Option, text: str) -> Any:
    try:
        return _read(option, text)
    except InputError as error:
        raise InputError(f"{option.flag} {text}: {error}") from None


def check_option(option: Option, given: Any) -> Any:
    """Check a value given in Python as strictly as one that was typed.

    Parameters
    ----------
    option : Option
    given : object
        A value of the option's type; a path may stand for a text, and where several values may be given one alone or
        any series of them.

    Returns
    -------
    object
        The value as the command line would have made it.

    Raises
    ------
    InputError
        Naming the option, what was given and what would do.

    Examples
    --------
    >>> alpha = common_option("alpha")
    >>> check_option(alpha, 0.01)
    0.01
    >>> check_option(alpha, 5)
    Traceback (most recent call last):
    metastable.errors.InputError: alpha=5: 5 does not lie between 0 and 1; give a level such as 0.05
    """
    if given is None and option.default is None:
        return None
    if not option.many:
        return _check_one(option, given)
    values = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    if not values and option.default and not option.empty:
        raise InputError(f"{option.name}={given!r}: it needs at least one value")
    return tuple(dict.fromkeys(_check_one(option, value) for value in values))


def _check_one(option: Option, given: Any) -> Any:
    try:
        return _checked(option, given)
    except InputError as error:
        raise InputError(f"{option.name}={given!r}: {error}") from None


def _checked(option: Option, given: Any) -> Any:
    if option.kind is bool:
        if not isinstance(given, bool):
            raise InputError("give True or False")
        return given
    of_text = isinstance(given, str | os.PathLike)
    value = _read(option, os.fspath(given) if isinstance(given, os.PathLike) else str(given))
    if isinstance(value, str) and not of_text:
        raise InputError(f"give a text in place of a value of the type {type(given).__name__}")
    if isinstance(value, int | float) and of_text:
        raise InputError("give a number without quotation marks")
    if not of_text and value != given:
        raise InputError("give a value of the kind that --help shows")
    return value


THE_STUDYS_OWN = "auto"
"""Given for the measure: the one that the study is about."""
MODEL = "the model"
MEASURED = "what is measured"
_TESTED = "what is tested"
_PLACE = "where it runs, and where to"


@dataclass(frozen=True)
class Options:
    """What was chosen for a run: the options of every study, and the study's own.

    Each field's entry says what it is, what it affects, and where it stands in ``--help``.

    Attributes
    ----------
    own : mapping of str to object
        Values of the study's own options, by name.
    """

    model: str = option(
        "all-MiniLM-L6-v2", str, "the bundled encoder, a Hugging Face id, or a folder with a model", group=MODEL
    )
    revision: str | None = option(None, str, "revision of a Hugging Face model: branch, tag or commit", group=MODEL)
    threshold: tuple[float, ...] = option(
        (0.9,),
        fraction,
        "share of the attention that the count must reach; several may be given, the first is the primary one",
        many=True,
        group=MEASURED,
        varies=True,
    )
    measure: str = option(
        THE_STUDYS_OWN,
        str,
        "what is compared of each attention row",
        choices=ChainMap(cast(MutableMapping[str, str], MEASURE_CHOICES), {THE_STUDYS_OWN: "the study's own measure"}),
        group=MEASURED,
    )
    queries: str = option("all", str, "which tokens query", choices=("all", "words", "special"), group=MEASURED)
    keys: str = option(
        "all",
        str,
        "which keys count; words drops the special tokens and renormalizes",
        choices=("all", "words"),
        group=MEASURED,
    )
    unit: str = option(
        "tokens",
        str,
        "what is counted: tokens, or words whose pieces' mass is summed first",
        choices=("tokens", "words"),
        group=MEASURED,
    )
    permutations: int = option(
        10_000, relabelings, "number of relabelings of the permutation test", affects="tests", group=_TESTED
    )
    alpha: float = option(0.05, probability, "significance level", affects="tests", group=_TESTED)
    correction: str = option(
        "bh",
        str,
        "correction of p-values over the heads of a site",
        choices={name: one.help for name, one in CORRECTIONS.items() if one.for_heads},
        affects="tests",
        group=_TESTED,
    )
    margin: float = option(
        0.2,
        positive,
        "smallest effect of interest, in units of Hedges' g, for the equivalence test",
        affects="tests",
        group=_TESTED,
    )
    covariates: tuple[str, ...] = option(
        (),
        str,
        "covariates to adjust for, by their names in the balance table, or none",
        many=True,
        empty=True,
        affects="tests",
        group=_TESTED,
    )
    joint: bool = option(
        False,
        bool,
        "also fit one mixed model over all heads (does the effect vary over layers?)",
        affects="tests",
        group=_TESTED,
    )
    # words are drawn with it, relabelings too
    seed: int = option(20, seed, "seed of every random choice", group=_PLACE)
    device: str = option(
        "auto",
        str,
        "where the model runs",
        choices=("auto", "cpu", "cuda", "mps"),
        affects="nothing",
        group=_PLACE,
    )
    dtype: str = option(
        "float32",
        str,
        "type of the model's numbers; the softmax is float32 whatever it is",
        choices=("float32", "float16", "bfloat16"),
        group=_PLACE,
    )
    keep: str = option(
        "tokens",
        str,
        "what the cube holds: the values of every token, or the means of sequences alone, which for very many of them "
        "take a fraction of the room; then there are no modes, distributions and mixed models of tokens",
        choices=("tokens", "means"),
        affects="counts",
        group=_PLACE,
    )
    batch_tokens: int | None = option(
        None,
        natural,
        "tokens per batch, padding included; by default what the device has room for",
        affects="nothing",
        group=_PLACE,
    )
    out: str = option("reports", str, "folder that receives a folder for the study", affects="nothing", group=_PLACE)
    own: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Make options of values by name; those that no field declares are the study's own."""
        declared = {entry.name for entry in declared_options(cls)}
        return cls(
            **{name: value for name, value in values.items() if name in declared},
            own={name: value for name, value in values.items() if name not in declared},
        )

    def values(self) -> dict[str, Any]:
        """Return all values by name, the study's own first."""
        return {**self.own, **{one.name: getattr(self, one.name) for one in fields(self) if one.name != "own"}}

    def replaced(self, values: Mapping[str, Any]) -> Self:
        """Return the options with some values replaced, by name."""
        return self.of({**self.values(), **values})

    def to_json(self) -> dict[str, Any]:
        """Return all values by name, as JSON holds them."""
        found: dict[str, Any] = plain(self.values())
        return found


COMMON_OPTIONS: tuple[Option, ...] = declared_options(Options)
"""The options of every study."""


def common_option(name: str, **changed: Any) -> Option:
    """Return the entry of a common option, with another default, say: a study that declares it replaces the common one.

    Examples
    --------
    >>> common_option("covariates", default=("zipf",)).affects
    'tests'
    """
    return replace(next(entry for entry in COMMON_OPTIONS if entry.name == name), **changed)
