"""What each measure of an attention row is called, what it is, and what more of it means."""

from __future__ import annotations

from dataclasses import dataclass

from metastable.report.apa import format_g
from metastable.study import Options, Sequence

__all__ = ["MeasureWords", "count_clause", "measure_words", "row_clauses", "row_length"]


@dataclass(frozen=True)
class MeasureWords:
    """A measure in the words of a report.

    Attributes
    ----------
    name : str
        What it is called: "count", "effective number".
    definition : str
        What it is, after "the count is".
    wider : bool
        Whether more of it means that the attention spreads wider.
    unit : str
        What it is counted in: "tokens", "words", "nats"; empty for a share of the attention.
    digits : int
        Digits after the point in tables.
    cited : str
        The paper that it comes from; empty if it needs none.
    """

    name: str
    definition: str
    wider: bool
    unit: str
    digits: int
    cited: str = ""

    def amount(self, value: float) -> str:
        """Return a difference of the measure with its unit, without sign."""
        number = format_g(abs(value), self.digits, sign=False)
        return f"{number} {self.unit}" if self.unit else number

    def more_in(self, more: str, fewer: str, value: float) -> str:
        """Say of a head that it has so much more of the measure in one condition than in the other."""
        if self.wider and self.unit in {"tokens", "words"}:
            number = format_g(abs(value), self.digits, sign=False)
            return f"which spreads over {number} more {self.unit} in {more} than in {fewer}"
        return f"whose mean {self.name} is {self.amount(value)} higher in {more} than in {fewer}"

    @property
    def has_more(self) -> str:
        """What a head does in the condition where it has more."""
        return "spreads wider" if self.wider else f"has a higher {self.name}"

    @property
    def have_more(self) -> str:
        """The same of several heads."""
        return "spread wider" if self.wider else f"have a higher {self.name}"


def count_clause(options: Options, threshold: str) -> str:
    """Say what the count is, after "the count is"; `threshold` is the share or list of shares in words."""
    what = "entries" if options.unit == "tokens" else "words"
    return f"the smallest number of {what} of its attention row that together hold {threshold} of the row's mass"


def measure_words(options: Options) -> MeasureWords:
    """Return the words for the measure of a run.

    Parameters
    ----------
    options : Options
        The run's options: measure, threshold, and what is kept of a row.

    Returns
    -------
    MeasureWords
    """
    unit = options.unit
    share = f"{100 * options.threshold[0]:g}%"
    one = unit.removesuffix("s")
    table = {
        "count": MeasureWords(
            "count", f"{count_clause(options, share)}: the size of the head's metastable state", True, unit, 2
        ),
        "entropy": MeasureWords(
            "entropy",
            "the Shannon entropy of its attention row, −Σ p ln p in nats: 0 where all attention lies on one "
            f"{one}, ln n where it is spread evenly over n",
            True, "nats", 3,
        ),
        "effective_number": MeasureWords(
            "effective number",
            f"the exponential of the entropy of its attention row: 1 where all attention lies on one {one}, n where "
            "it is spread evenly over n",
            True, unit, 2, "Hill, 1973",
        ),
        "largest_weight": MeasureWords(
            "largest weight", f"the share of the attention that goes to the {one} attended most", False, "", 3
        ),
        "special_mass": MeasureWords(
            "special mass", "the share of the attention that goes to special tokens", False, "", 3
        ),
        "self_mass": MeasureWords(
            "self mass", "the share of the attention that the token pays to itself", False, "", 3
        ),
        "target_mass": MeasureWords(
            "target mass", "the share of its attention that the study's target words receive from it", False, "", 3
        ),
    }  # fmt: skip
    return table[str(options.measure)]


def row_clauses(options: Options) -> tuple[str, list[str]]:
    """Say which tokens query, and what is done to a row before anything is measured.

    Parameters
    ----------
    options : Options
        The run's options: queries, keys, unit and measure.

    Returns
    -------
    asked : str
        "query token", "query token of a word" or "special query token".
    changes : list of str
        Sentences; empty where the row is taken as it is.
    """
    asked = {"all": "query token", "words": "query token that belongs to a word", "special": "special query token"}
    changes = []
    # shares of the whole row, whatever keys count
    if options.measure not in {"special_mass", "self_mass", "target_mass"}:
        if options.keys == "words":
            changes.append("Special tokens were taken out of the keys and the rest of each row was renormalized.")
        if options.unit == "words":
            alone = "" if options.keys == "words" else "; a special token was a word of its own"
            changes.append(f"The mass of a word's pieces was summed first{alone}.")
    return asked[options.queries], changes


def row_length(sequence: Sequence, options: Options) -> int:
    """Return how many tokens, or words, a row of a sequence can be spread over.

    Parameters
    ----------
    sequence : Sequence
    options : Options
        The run's options: keys and unit.

    Returns
    -------
    int
    """
    of_words = [word for word in sequence.word_index if word >= 0]
    special = 0 if options.keys == "words" else len(sequence.token_ids) - len(of_words)
    return special + (len(set(of_words)) if options.unit == "words" else len(of_words))
