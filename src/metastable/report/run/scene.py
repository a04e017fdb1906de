"""What every sentence, table and figure of a run's report is made from, worked out once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.heads.contrasts import Contrast
from metastable.heads.modes import founding_bands
from metastable.heads.results import RunResult
from metastable.heads.spread import Spread
from metastable.measures import SPECIAL_TOKENS
from metastable.report.measure_words import MeasureWords, measure_words, row_length
from metastable.report.sides import Sides, sides_of
from metastable.report.words import short_name
from metastable.stats.analysis import Analysis, of_primary_measure, primary
from metastable.stats.corrections import CORRECTIONS
from metastable.stats.effect_kinds import Effect
from metastable.stats.verdict import DIFFERENT, NEGLIGIBLE, VERDICTS
from metastable.study import Options

__all__ = ["Scene"]

# Heads of the table that is not folded.
_SHOWN = 10


@dataclass(frozen=True)
class Scene:
    """A run's result at its primary threshold and measure.

    Attributes
    ----------
    result : RunResult
    site : str
        The attention site that a figure shows; empty for all.
    """

    result: RunResult
    site: str = ""

    @property
    def contrast(self) -> Contrast:
        """The primary contrast."""
        return self.result.contrast

    @property
    def analysis(self) -> Analysis:
        """The tests of the primary contrast."""
        return self.result.analysis

    @property
    def effect(self) -> Effect:
        """What was tested."""
        return self.analysis.effect

    @property
    def options(self) -> Options:
        """The run's options."""
        return self.result.record.options

    @property
    def alpha(self) -> float:
        """Significance level."""
        return float(self.options.alpha)

    @property
    def margin(self) -> float:
        """Smallest effect of interest."""
        return float(self.options.margin)

    @property
    def held(self) -> tuple[str, ...]:
        """Names of the covariates that the tests hold fixed."""
        return tuple(self.options.covariates)

    @property
    def held_names(self) -> list[str]:
        """The same as readers call them."""
        return [short_name(name) for name in self.held]

    @property
    def threshold(self) -> str:
        """The primary threshold, as a percentage."""
        return f"{100 * self.options.threshold[0]:g}%"

    @cached_property
    def measure(self) -> MeasureWords:
        """The measure in words."""
        return measure_words(self.options)

    @property
    def packings(self) -> int:
        """In how many random packings the words were read; 1 where the sequences are what is tested."""
        return self.result.material.packings

    @property
    def things(self) -> str:
        """What is compared: the sequences, or words over several packings of them."""
        return "words" if self.packings > 1 else "sequences"

    @cached_property
    def sides(self) -> Sides:
        """The sides of the contrast in words."""
        return sides_of(self.contrast, self.things)

    @property
    def conditions(self) -> tuple[str, str]:
        """Names of a and b."""
        return self.contrast.a.name, self.contrast.b.name

    @cached_property
    def heads(self) -> pd.DataFrame:
        """The table of heads."""
        return primary(self.analysis.heads)

    @cached_property
    def details(self) -> pd.DataFrame:
        """The details of the heads."""
        return primary(self.analysis.details)

    @cached_property
    def layers(self) -> pd.DataFrame:
        """The table of layers."""
        return primary(self.analysis.layers)

    @cached_property
    def omnibus(self) -> pd.DataFrame:
        """The omnibus tests of the model and of its sites."""
        return primary(self.analysis.omnibus)

    @cached_property
    def whole(self) -> dict[Any, Any]:
        """The omnibus test of all heads."""
        return dict(self.omnibus[self.omnibus["site"] == "all"].iloc[0].to_dict())

    @cached_property
    def at_every_threshold(self) -> pd.DataFrame:
        """The table of heads of the primary measure at all its thresholds."""
        return of_primary_measure(self.analysis.heads)

    @property
    def sites(self) -> list[str]:
        """The attention sites."""
        return list(dict.fromkeys(self.heads["site"]))

    @property
    def several_sites(self) -> bool:
        """Whether the model has several attention sites."""
        return len(self.sites) > 1

    @property
    def several_thresholds(self) -> bool:
        """Whether the measure was tested at several thresholds."""
        return len(self.at_every_threshold["threshold"].unique()) > 1

    @property
    def controls(self) -> str:
        """What the correction over heads controls, in short: FDR or FWER."""
        return CORRECTIONS[self.options.correction].controls

    @property
    def rate(self) -> str:
        """The same in words: false discovery rate, family-wise error rate."""
        return CORRECTIONS[self.options.correction].rate

    @property
    def estimates(self) -> pd.Series[float]:
        """Each head's effect in the units of the measure."""
        return self.heads[self.effect.estimate]

    @property
    def sizes(self) -> pd.Series[float]:
        """Each head's standardized effect."""
        return self.heads[self.effect.size]

    @cached_property
    def by_size(self) -> NDArray[np.intp]:
        """Rows of the heads, the largest standardized effect first."""
        return self.sizes.abs().sort_values(ascending=False, kind="stable").index.to_numpy()

    @property
    def shown(self) -> list[int]:
        """Rows of the heads that stand in the table that is not folded: the ten largest."""
        return [int(row) for row in self.by_size[:_SHOWN]]

    @cached_property
    def largest(self) -> dict[Any, Any]:
        """The head with the largest standardized effect, with its details."""
        row = int(self.sizes.abs().to_numpy().argmax())
        return {**self.details.iloc[row].to_dict(), **self.heads.iloc[row].to_dict()}

    @property
    def median_size(self) -> float:
        """Median of the absolute standardized effects."""
        return float(self.sizes.abs().median())

    @property
    def different(self) -> pd.Series[bool]:
        """Whether each head's verdict is that it differs, negligibly or not."""
        return self.heads["verdict"].isin([DIFFERENT, NEGLIGIBLE])

    @cached_property
    def verdicts(self) -> dict[str, int]:
        """Number of heads of each verdict."""
        counts = self.heads["verdict"].value_counts()
        return {name: int(counts.get(name, 0)) for name in VERDICTS}

    @property
    def verdict(self) -> str:
        """The verdict on the model as a whole.

        Different where the omnibus p (sum of squared statistics over all heads) is below alpha; equivalent where every
        head is; undecided otherwise.
        """
        if self.whole["p_sum_squares"] < self.alpha:
            return "different"
        return "equivalent" if self.verdicts["equivalent"] == len(self.heads) else "undecided"

    def place(self, row: Mapping[Any, Any]) -> str:
        """Name a head: "layer 2, head 3", with its site where there are several."""
        return f"layer {row['layer']}, head {row['head']}" + (f" of {row['site']}" if self.several_sites else "")

    def before_and_after(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the heads' effects without and with the covariates held fixed, each with its corrected p."""
        effect, details = self.effect, self.details
        keys = self.heads[["site", "layer", "head", "threshold", "measure"]]
        # where nothing else was fitted, the effect as it was observed is the one without covariates
        observed = details.get(f"{effect.estimate}_unadjusted", self.estimates)
        columns = {"unadjusted": observed, "adjusted": details[f"{effect.estimate}_adjusted"]}
        before, after = (
            keys.assign(**{effect.estimate: column, "p_perm_fdr": details[f"p_perm_{name}_fdr"]})
            for name, column in columns.items()
        )
        return before, after

    @property
    def mixed_model(self) -> str:
        """The second analysis, a mixed model as lme4 writes it; empty if there is none beside the first."""
        if self.heads["lmm_p"].isna().all() or self.analysis.over_contexts:
            return ""
        fitted = tuple(name for name in self.held if name not in self.analysis.determined)
        return self.contrast.mixed_formula(self.options.measure, fitted)

    @cached_property
    def has_special_tokens(self) -> bool:
        """Whether any text that was read has tokens that are of no word."""
        return any(SPECIAL_TOKENS.is_met(sequence) for sequence in self.result.material.sequences)

    @cached_property
    def row_length(self) -> float:
        """Mean number of tokens, or words, that a row is spread over."""
        return float(np.mean([row_length(sequence, self.options) for sequence in self.result.material.sequences]))

    @property
    def spread(self) -> Spread:
        """How the counts spread over tokens, of a run that kept these."""
        if self.result.spread is None:
            raise TypeError("the run kept no values of tokens")
        return self.result.spread

    @property
    def modes(self) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
        """Operating mode of every head on either side: classes of the median of count over visible keys."""
        return self.spread.modes

    @property
    def bands(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The founding figure's band of every head on either side, of the same median."""
        a, b = founding_bands(self.spread.quartiles[..., 1], 1)
        return a, b

    @property
    def visible_keys(self) -> int | None:
        """How many keys every query sees; None where queries see different numbers."""
        return self.spread.visible_keys(self.of_site)

    @property
    def of_site(self) -> NDArray[np.bool_]:
        """Which rows of the heads belong to the site that a figure shows; all where it shows none in particular."""
        return (self.heads["site"] == self.site).to_numpy() if self.site else np.ones(len(self.heads), dtype=bool)
