"""The options that every study has, and how a given string becomes a value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from metastable.errors import InputError
from metastable.measures import MEASURE_CHOICES
from metastable.stats.corrections import CORRECTIONS
from metastable.study.definition import Option, Study

__all__ = [
    "COMMON_OPTIONS",
    "check_options",
    "existing_file",
    "fraction",
    "natural",
    "options_of",
    "parse_option",
    "positive",
    "probability",
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


def seed(text: str) -> int:
    """Parse a whole number of at least 0."""
    try:
        value = int(text)
    except ValueError:
        raise InputError(f"{text!r} is not a whole number") from None
    if value < 0:
        raise InputError(f"{text} is below 0; give a whole number of at least 0")
    return value


def existing_file(text: str) -> str:
    """Take the path of a file that is there."""
    if not Path(text).is_file():
        raise InputError("there is no such file; give the path of one")
    return text


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


def parse_option(option: Option, given: str | list[str]) -> Any:
    """Turn what was given for an option into its value.

    Raises
    ------
    InputError
        Naming the option, what was given and what would do.
    """
    if option.many:
        texts = [part for text in given for part in str(text).split(",") if part.strip()]
        if not texts:
            raise InputError(f"--{option.name.replace('_', '-')} needs at least one value")
        if option.empty and [text.strip() for text in texts] == ["none"]:
            return ()
        return tuple(dict.fromkeys(_parse_one(option, text.strip()) for text in texts))
    return _parse_one(option, str(given))


def _parse_one(option: Option, text: str) -> Any:
    flag = f"--{option.name.replace('_', '-')}"
    if option.choices and text not in option.choices:
        raise InputError(f"{flag} {text}: choose one of {', '.join(option.choices)}")
    kind: Callable[[str], Any] = option.kind
    try:
        return kind(text)
    except InputError as error:
        raise InputError(f"{flag} {text}: {error}") from None
    except ValueError:
        raise InputError(f"{flag} {text}: give a value of the kind that --help shows") from None


COMMON_OPTIONS: tuple[Option, ...] = (
    Option("model", str, "all-MiniLM-L6-v2", "the bundled encoder, a Hugging Face id, or a folder with a model"),
    Option("revision", str, None, "revision of a Hugging Face model: branch, tag or commit"),
    Option("threshold", fraction, (0.9,), "share of the attention that the count must reach; several may be "
           "given, the first is the primary one", many=True),
    Option("device", str, "auto", "where the model runs", choices=("auto", "cpu", "cuda", "mps")),
    Option("permutations", natural, 10_000, "number of relabelings of the permutation test"),
    Option("alpha", probability, 0.05, "significance level"),
    Option("correction", str, "bh", "correction of p-values over the heads of a site",
           choices={name: one.help for name, one in CORRECTIONS.items() if one.for_heads}),
    Option("margin", positive, 0.2, "smallest effect of interest, in units of Hedges' g, for the equivalence test"),
    Option("measure", str, "count", "what is compared of each attention row",
           choices=MEASURE_CHOICES),
    Option("queries", str, "all", "which tokens query", choices=("all", "words", "special")),
    Option("keys", str, "all", "which keys count; words drops the special tokens and renormalizes",
           choices=("all", "words")),
    Option("unit", str, "tokens", "what is counted: tokens, or words whose pieces' mass is summed first",
           choices=("tokens", "words")),
    Option("covariates", str, (), "covariates to adjust for, by their names in the balance table, or none", many=True,
           empty=True),
    Option("joint", bool, False, "also fit one mixed model over all heads (does the effect vary over layers?)"),
    Option("seed", seed, 20, "seed of every random choice"),
    Option("batch_tokens", natural, 4096, "tokens per batch, padding included"),
    Option("out", str, "reports", "folder that receives a folder for the study"),
)  # fmt: skip


def options_of(study: Study) -> tuple[Option, ...]:
    """Return a study's own options, then the common ones that it does not declare anew with another default."""
    own = {option.name for option in study.options}
    return (*study.options, *(option for option in COMMON_OPTIONS if option.name not in own))


def check_options(study: Study, options: Mapping[str, Any]) -> None:
    """Refuse options that cannot go together, before anything heavy is loaded.

    Parameters
    ----------
    study : Study
        Whose own check is asked as well.
    options : mapping
        Values of the common options and of the study's own.

    Raises
    ------
    InputError
        If so few permutations leave no p-value that reaches the significance level, or if the study refuses.
    """
    n_permutations, alpha = options["permutations"], options["alpha"]
    least = 1 / (n_permutations + 1)
    if least > alpha:
        raise InputError(
            f"--permutations {n_permutations}: p is at least {least:.2g} then and never reaches --alpha {alpha:g}; "
            f"give {math.ceil(1 / alpha) - 1:,} permutations or more"
        )
    if study.check is not None:
        study.check(options)
