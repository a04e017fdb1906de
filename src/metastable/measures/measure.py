"""What a measure of an attention row is: one entry of the table, and the rows that it is taken of."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from metastable.errors import InputError
from metastable.models.sites import Site, Stream

if TYPE_CHECKING:
    import torch

__all__ = ["Attention", "Measure", "ModelNeed", "Need", "Rows", "Tokens"]

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TAKEN = frozenset(
    {"sequence", "site", "layer", "head", "threshold", "token", "condition", "cluster", "pair", "level", "context"}
)


@dataclass(frozen=True)
class Rows:
    """The attention rows of one layer and one batch, as a measure sees them.

    Attributes
    ----------
    weights : torch.Tensor
        (batch, heads, queries, keys) float32, the rows as they are: they sum to 1, or to less where a learned sink
        takes part in the softmax, and keys that a query does not see weigh 0.
    kept : torch.Tensor
        (batch, heads, queries, units) float32, the same after the options: without the special tokens and
        renormalized where only words are keys, each word's pieces summed where words are the unit.
    site : Site
        What the queries and the keys are.
    asked : torch.Tensor
        (batch, queries) boolean: the rows that count.
    words : mapping of stream to torch.Tensor
        (batch, tokens) the word of each token of the stream; -1 for a special token and for padding.
    targets : mapping of stream to torch.Tensor
        (batch, tokens) boolean: the pieces of the words that the study is about; a stream that has none is not there.
    spans : mapping of stream to torch.Tensor
        (batch, tokens) the span of target words that each token is of: 1 or 2, 0 for none; of the same streams.
    count : callable
        ``count(rows)`` counts the entries of any rows that hold each threshold's share of the row's mass, by the
        compiled kernels: (batch, heads, queries, thresholds) int32.
    lengths : torch.Tensor or None
        (batch, heads, keys) float32, the lengths of the values that the weights are multiplied with, relative to the
        longest of their head; None unless a measure needs the values.
    """

    weights: torch.Tensor
    kept: torch.Tensor
    site: Site
    asked: torch.Tensor
    words: Mapping[Stream, torch.Tensor]
    targets: Mapping[Stream, torch.Tensor]
    count: Callable[[torch.Tensor], torch.Tensor]
    lengths: torch.Tensor | None = None
    spans: Mapping[Stream, torch.Tensor] = field(default_factory=dict)


class Tokens(Protocol):
    """What a need looks at: the tokens of a `metastable.study.Sequence`."""

    @property
    def word_index(self) -> Sequence[int]:
        """For each token its word; -1 for a special token."""

    @property
    def target_tokens(self) -> Sequence[bool]:
        """Whether each token is a piece of a target word."""

    @property
    def target_spans(self) -> Sequence[int]:
        """For each token the span of target words that it is of: 1 or 2, 0 for none."""


@dataclass(frozen=True)
class Need:
    """What a sequence must have for a measure of its rows.

    Attributes
    ----------
    what : str
        After "has no": "target word".
    remedy : str
        What would do, beside another measure; empty if nothing.
    is_met : callable
        Whether a sequence has it.
    """

    what: str
    remedy: str
    is_met: Callable[[Tokens], bool] = field(repr=False)


class Attention(Protocol):
    """What a need of the model looks at: how its attention is read, as `metastable.models.encoders.Encoder` has it."""

    @property
    def gives_values(self) -> bool:
        """Whether what its weights are multiplied with is seen."""

    @property
    def has_sink(self) -> bool:
        """Whether a learned sink takes part in its softmax, which is no key."""


@dataclass(frozen=True)
class ModelNeed:
    """What a model must have for a measure of its rows.

    Attributes
    ----------
    what : str
        After "the measure needs": "a learned sink in the softmax".
    lacking : str
        After "and the model", where it is not met: "has none".
    is_met : callable
        Whether a model has it.
    """

    what: str
    lacking: str
    is_met: Callable[[Attention], bool] = field(repr=False)


def _everywhere(site: Site) -> bool:  # noqa: ARG001 - one signature for all measures
    return True


@dataclass(frozen=True)
class Measure:
    """A measure of an attention row: all that anything knows of it.

    In `definition`, `unit` and `label` these words in braces are filled in from a run's options: ``{unit}`` (tokens or
    words), ``{one}`` (token or word), ``{entries}`` (entries or words) and ``{share}`` (of the attention: 90%).

    Attributes
    ----------
    name : str
        On the command line, in the cube and in tables: ``"effective_number"``.
    of_rows : callable
        Takes `Rows`, gives (batch, heads, queries), with a further axis of thresholds where it depends on them. What
        it gives for rows that are not asked is not read; NaN stands where an asked row has no value. torch must be
        imported inside, since the table is read by whoever lists the options.
    called : str
        What it is called: "effective number".
    definition : str
        What it is, after "the effective number is".
    help : str
        One line for the command line.
    wider : bool
        Whether more of it means that the attention spreads wider.
    meaning : str
        What it stands for, after "which is"; empty where the definition says it all.
    unit : str
        What it is counted in: "{unit}", "nats"; empty for a share of the attention.
    digits : int
        Digits after the point in tables.
    label : str
        What a figure's axis calls it; empty for `called`.
    cited : str
        The paper that it comes from, as a text cites it: "Hill, 1973"; empty if it needs none.
    bibtex : str
        That paper's BibTeX entry, where the references of the reports do not have it.
    version : int
        Number of the rule by which `of_rows` measures; raise it with every change of the values, so that no cube of
        an older rule is reused.
    of_threshold : bool
        Whether it depends on the threshold.
    whole : bool
        Whether its values are whole numbers up to the number of keys, 0 where nothing is asked; floats, which are
        NaN there, if not.
    whole_row : bool
        Whether it is taken of the row as it is, whatever keys count and whatever the unit.
    joint : bool
        Whether its logarithm suits the joint model of all heads: it is positive, and effects multiply it.
    needs : tuple of Need
        What every sequence must have.
    needs_of_model : tuple of ModelNeed
        What the model must have.
    in_every_run : bool
        Whether every run takes it of all rows, whatever it compares, where model and sequences have what it needs.
    tested_in_every_run : bool
        Whether every run that takes it tests it too, beside what the run is about.
    stands_in_for : str
        Name of a measure whose place in these tests it takes where that one cannot be had; empty for none.
    gives_way_to : str
        Name of the measure that a run takes for its own in this one's place, where the choice was left to the study
        and this one cannot be had; empty for none.
    of_sink : bool
        Whether it says how much of the attention rests on a sink; the first such one that a run has is held fixed.
    without_sinks : bool
        Whether a sink hardly enters it, so that what differs in it does not differ by where the attention rests.
    has_values_at : callable
        Whether it has a value at a site: ``has_values_at(site)``.

    Raises
    ------
    InputError
        If the name is no lower-case identifier, or is taken by an axis of the cube, or a brace is unknown.
    """

    name: str
    of_rows: Callable[[Rows], torch.Tensor] = field(repr=False)
    called: str
    definition: str
    help: str
    wider: bool = False
    meaning: str = ""
    unit: str = ""
    digits: int = 3
    label: str = ""
    cited: str = ""
    bibtex: str = ""
    version: int = 1
    of_threshold: bool = False
    whole: bool = False
    whole_row: bool = False
    joint: bool = False
    needs: tuple[Need, ...] = ()
    needs_of_model: tuple[ModelNeed, ...] = ()
    in_every_run: bool = False
    tested_in_every_run: bool = False
    stands_in_for: str = ""
    gives_way_to: str = ""
    of_sink: bool = False
    without_sinks: bool = False
    has_values_at: Callable[[Site], bool] = field(default=_everywhere, repr=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name in _TAKEN or self.name.startswith("mean_"):
            raise InputError(
                f"a measure is called {self.name!r}; give it a name of lower-case letters, digits and underscores that "
                "is no axis of the cube and does not begin with mean_"
            )
        for text in (self.definition, self.unit, self.label):
            self.fill(text)

    def fill(self, text: str, *, unit: str = "tokens", share: str = "90%") -> str:
        """Fill in the words in braces.

        Parameters
        ----------
        text : str
            `definition`, `unit` or `label`.
        unit : {"tokens", "words"}
            What a row's entries are.
        share : str
            The share of the attention that the threshold asks for, in words.

        Returns
        -------
        str

        Raises
        ------
        InputError
            If a word in braces is unknown.
        """
        words = {
            "unit": unit,
            "one": unit.removesuffix("s"),
            "entries": "entries" if unit == "tokens" else unit,
            "share": share,
        }
        try:
            return text.format(**words)
        except (KeyError, IndexError, ValueError):
            raise InputError(
                f"measure {self.name!r} says {text!r}; between braces stand only {', '.join(words)}"
            ) from None
