"""What a run's measure of an attention row is called, what it is, and what more of it means."""

from __future__ import annotations

from dataclasses import dataclass

from metastable.measures import measure_named
from metastable.report.apa import format_g
from metastable.study import Options, Sequence

__all__ = ["MeasureWords", "define_measure", "measure_words", "row_clauses", "row_length"]


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
    meaning : str
        What it stands for, after "which is"; empty where the definition says it all.
    cited : str
        The paper that it comes from; empty if it needs none.
    """

    name: str
    definition: str
    wider: bool
    unit: str
    digits: int
    meaning: str = ""
    cited: str = ""

    @property
    def in_entries(self) -> bool:
        """Whether it says over how many entries of the row the attention spreads."""
        return self.wider and self.unit in {"tokens", "words"}

    def amount(self, value: float) -> str:
        """Return a difference of the measure with its unit, without sign."""
        number = format_g(abs(value), self.digits, sign=False)
        return f"{number} {self.unit}" if self.unit else number

    def more_in(self, more: str, fewer: str, value: float) -> str:
        """Say of a head that it has so much more of the measure in one condition than in the other."""
        if self.in_entries:
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


def define_measure(options: Options, share: str) -> str:
    """Say what the measure of a run is, after "the count is".

    Parameters
    ----------
    options : mapping
        The run's options: measure and unit.
    share : str
        The threshold's share of the attention, or the list of shares, in words.

    Returns
    -------
    str
    """
    measure = measure_named(options.measure)
    return measure.fill(measure.definition, unit=options.unit, share=share)


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
    measure = measure_named(options.measure)
    meaning = f": {measure.meaning}" if measure.meaning else ""
    return MeasureWords(
        name=measure.called,
        definition=define_measure(options, f"{100 * options.threshold[0]:g}%") + meaning,
        wider=measure.wider,
        unit=measure.fill(measure.unit, unit=options.unit),
        digits=measure.digits,
        meaning=measure.meaning,
        cited=measure.cited,
    )


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
    if not measure_named(options.measure).whole_row:
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
