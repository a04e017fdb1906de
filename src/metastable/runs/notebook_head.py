"""One head of a result, for a notebook: its data, the standard tools beside it, and a paragraph for a paper."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Any

import pandas as pd

from metastable.heads.conditions_check import check_conditions
from metastable.heads.head_check import check_head
from metastable.heads.one_head import OneHead
from metastable.report.run.head_sentence import conditions_sentence, head_sentence

__all__ = ["ConditionsHead", "Head"]


@dataclass(frozen=True)
class Head:
    """One head of a result.

    Attributes
    ----------
    found : OneHead
        All of it.

    Examples
    --------
    >>> head = result.head(5, 9)                            # doctest: +SKIP
    >>> seaborn.stripplot(head.frame, x="condition", y="value")  # doctest: +SKIP
    >>> head.check()                                        # doctest: +SKIP
    >>> print(head.sentence)                                # doctest: +SKIP
    """

    found: OneHead = field(repr=False)

    @property
    def row(self) -> pd.Series[Any]:
        """Its row of heads.csv and of details.csv, joined."""
        return self.found.row

    @property
    def frame(self) -> pd.DataFrame:
        """One row per sequence (or word, where words are read in several packings), for pingouin, seaborn or R.

        Columns: ``sequence``; ``condition``; ``value``, the measure of the head; ``unit``, the unit of inference that
        it belongs to, None where it takes no part; ``pair``, ``cluster``, ``context``, ``level``, ``packing`` where
        there are any; the covariates and the predictor by their names; ``text``. The attributes name the measure,
        what it is counted in, what a unit is, and the predictor: ``head.frame.attrs``.
        """
        table = self.found.frame.copy()
        table.attrs = dict(self.found.frame.attrs)
        return table

    @property
    def units(self) -> pd.DataFrame:
        """One row per unit of inference, as it was tested: ``unit, condition, value``, ``pair``, covariates.

        Of a slope the conditions are the halves by the predictor, for description.
        """
        table = self.found.units.copy()
        table.attrs = dict(self.found.units.attrs)
        return table

    def check(self) -> pd.DataFrame:
        """Run pingouin, statsmodels and scipy on this head and set their numbers beside those of the tables.

        Returns
        -------
        pandas.DataFrame
            As `metastable.heads.head_check.check_head` returns it: ``quantity, ours, theirs, tool, difference,
            tolerance, agrees, why``; one row for each number, and for each that no standard tool has.
        """
        return check_head(self.found)

    @property
    def sentence(self) -> str:
        """The head in a paragraph in the style of the APA, in Markdown: each number is that of the tables."""
        return head_sentence(self.found)

    def __str__(self) -> str:
        return self.sentence

    def __repr__(self) -> str:
        effect = self.found.analysis.effect
        return f"<Head {self.found.place}: {self.row['verdict']}, {effect.symbol} = {self.row[effect.size]:+.2f}>"

    def _repr_html_(self) -> str:
        return f"<h4>{escape(self.found.place)}: {escape(str(self.row['verdict']))}</h4><p>{_plain(self.sentence)}</p>"


@dataclass(frozen=True)
class ConditionsHead:
    """One head in several conditions.

    Attributes
    ----------
    row : pandas.Series
        Its row of omnibus.csv.
    frame : pandas.DataFrame
        One row per unit: ``unit, condition, value``.
    conditions : tuple of str
    blocks : bool
        Whether the units are in every condition.
    n_permutations, seed : int
        Of the test.
    alpha : float
    model : str
    pairs : pandas.DataFrame
        Its rows of pairs.csv, each pair of conditions by itself.
    """

    row: pd.Series[Any] = field(repr=False)
    frame: pd.DataFrame = field(repr=False)
    conditions: tuple[str, ...]
    blocks: bool
    n_permutations: int
    seed: int
    alpha: float
    model: str
    pairs: pd.DataFrame = field(repr=False)

    @property
    def place(self) -> str:
        """Which head it is."""
        return f"layer {self.row['layer']}, head {self.row['head']} of {self.model}"

    def check(self) -> pd.DataFrame:
        """Run pingouin and scipy on this head, as `Head.check` does: Welch's F, or Hotelling's T² within units."""
        return check_conditions(
            self.row.to_dict(), self.frame, self.conditions, blocks=self.blocks, n_permutations=self.n_permutations,
            seed=self.seed,
        )  # fmt: skip

    @property
    def sentence(self) -> str:
        """The head in a paragraph in the style of the APA, in Markdown."""
        return conditions_sentence(self.row, list(self.conditions), self.place, blocks=self.blocks, alpha=self.alpha)

    def __str__(self) -> str:
        return self.sentence

    def _repr_html_(self) -> str:
        return f"<h4>{escape(self.place)}</h4><p>{_plain(self.sentence)}</p>"


def _plain(markdown: str) -> str:
    """Turn the emphasis of a paragraph into HTML."""
    text = escape(markdown)
    for mark, tag in (("**", "b"), ("*", "i")):
        parts = text.split(mark)
        text = "".join(part if k == 0 else f"<{'/' if k % 2 == 0 else ''}{tag}>{part}" for k, part in enumerate(parts))
    return text
