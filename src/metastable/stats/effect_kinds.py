"""The table of effects: what is tested in a feature, what it is called, and the columns that hold it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from metastable.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CONTEXT_COLUMNS", "DIFFERENCE", "EFFECTS", "SLOPE", "Effect", "effect_of", "head_columns"]


@dataclass(frozen=True)
class Effect:
    """One kind of effect: an estimate in the units of the measure, and its size in standard deviations.

    Attributes
    ----------
    name : str
        What it is called: "difference", "slope". The column of the estimate has this name.
    symbol : str
        Of the standardized size: "g", "d".
    size : str
        Column of the standardized size.
    size_name : str
        What the standardized size is called on an axis.
    of_mean : str
        What the estimate is called, before the name of a measure: "difference in mean".
    verb, verb_one : str
        What heads with a significant effect do, and what one head does: "differ", "differs".
    with_effect : str
        The same behind "heads": "that differ", "with a slope".
    plus, minus : str
        What a positive and what a negative effect is called; ``{a}`` and ``{b}`` stand for the conditions.
    more_plus, more_minus : str
        The same in a sentence.
    contrast : str
        What is taken from what, ``{minus}`` between them; empty where nothing is.
    greater, less : str
        What a one-sided claim says of a and b.
    source : str
        Where the standardized size comes from.
    """

    name: str
    symbol: str
    size: str
    size_name: str
    of_mean: str
    verb: str
    verb_one: str
    with_effect: str
    plus: str
    minus: str
    more_plus: str
    more_minus: str
    contrast: str
    greater: str
    less: str
    source: str

    @property
    def estimate(self) -> str:
        """Column of the estimate, whose interval is in ``ci_low`` and ``ci_high``."""
        return self.name

    @property
    def size_low(self) -> str:
        """Column of the lower limit of the standardized size, in the details."""
        return f"{self.symbol}_low"

    @property
    def size_high(self) -> str:
        """Column of the upper limit of the standardized size, in the details."""
        return f"{self.symbol}_high"

    @property
    def mean_size(self) -> str:
        """Column of the mean absolute size over a group of heads, in the tables of layers and omnibus tests."""
        return f"mean_abs_{self.symbol}"

    def directions(self, a: str, b: str) -> tuple[str, str]:
        """Return what a positive and what a negative effect is called, as a legend has it."""
        return self.plus.format(a=a, b=b), self.minus.format(a=a, b=b)

    def between(self, a: str, b: str, *, minus: str = "−") -> str:
        """Return what is taken from what: "concrete − abstract", or nothing."""
        return self.contrast.format(a=a, b=b, minus=minus)

    def directions_in_text(self, a: str, b: str) -> tuple[str, str]:
        """Return what a positive and what a negative effect is called, as a sentence has it."""
        return self.more_plus.format(a=a, b=b), self.more_minus.format(a=a, b=b)


DIFFERENCE = Effect(
    name="difference",
    symbol="g",
    size="hedges_g",
    size_name="Hedges' g",
    of_mean="difference in mean",
    verb="differ",
    verb_one="differs",
    with_effect="that differ",
    plus="{a} more",
    minus="{b} more",
    more_plus="more in {a}",
    more_minus="more in {b}",
    contrast="{a} {minus} {b}",
    greater="a larger than b",
    less="a smaller than b",
    source="Hedges (1981)",
)
"""The difference of two groups, a - b."""

SLOPE = Effect(
    name="slope",
    symbol="d",
    size="partial_d",
    size_name="d of the slope",
    of_mean="slope of the mean",
    verb="have a slope",
    verb_one="has a slope",
    with_effect="with a slope",
    plus="rising",
    minus="falling",
    more_plus="rising",
    more_minus="falling",
    contrast="",
    greater="rising",
    less="falling",
    source="the d of a partial correlation, 2 r / sqrt(1 - r^2): Borenstein et al. (2009, eq. 7.5)",
)
"""The change along a continuous predictor, covariates held fixed."""

EFFECTS = (DIFFERENCE, SLOPE)

CONTEXT_COLUMNS = (
    "f_items", "p_items", "p_items_fdr", "f_contexts", "p_contexts", "p_contexts_fdr",
    "min_f", "p_min_f", "p_min_f_fdr", "f_interaction", "p_interaction", "p_interaction_fdr",
)  # fmt: skip
"""Columns behind those of the heads where the tests are over items and contexts."""


def effect_of(table: pd.DataFrame) -> Effect:
    """Return the effect that a table holds, by its columns.

    Parameters
    ----------
    table : pandas.DataFrame
        Of heads, details, layers or omnibus tests.

    Returns
    -------
    Effect

    Raises
    ------
    InputError
        If the table holds the columns of no effect, or of several.

    Examples
    --------
    >>> import pandas as pd
    >>> effect_of(pd.DataFrame({"slope": [0.5], "partial_d": [0.1]})).name
    'slope'
    """
    found = [
        effect
        for effect in EFFECTS
        if {effect.estimate, effect.size, effect.size_low, effect.mean_size} & set(table.columns)
    ]
    if len(found) != 1:
        known = ", ".join(f"{effect.estimate!r} and {effect.size!r}" for effect in EFFECTS)
        raise InputError(
            f"the table holds {'several effects' if found else 'no effect'}; it has the columns "
            f"{', '.join(map(str, table.columns))}; give one with those of one effect: {known}"
        )
    return found[0]


def head_columns(effect: Effect) -> tuple[str, ...]:
    """Return the columns of the table of heads, in order.

    Parameters
    ----------
    effect : Effect

    Returns
    -------
    tuple of str
    """
    return (
        "site", "layer", "head", "threshold", "measure", "n_a", "n_b", "mean_a", "mean_b", "median_a", "median_b",
        effect.estimate, "ci_low", "ci_high", effect.size, "statistic", "p_perm", "p_perm_fdr", "p_perm_fwer",
        "lmm_estimate", "lmm_se", "lmm_dof", "lmm_p", "lmm_p_fdr", "bf10", "log10_bf10", "p_tost", "p_tost_fdr",
        "verdict",
    )  # fmt: skip
