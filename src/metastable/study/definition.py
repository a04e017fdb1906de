"""What a study is made of: plain, frozen, typed descriptions of two conditions and their sequences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from metastable.errors import InputError
from metastable.study.entries import Option
from metastable.study.options import Options

if TYPE_CHECKING:
    import pandas as pd

    from metastable.models.encoders import Tokenizer

__all__ = ["Claim", "Condition", "Design", "Factor", "Material", "Sequence", "Study", "View"]


@dataclass(frozen=True)
class Sequence:
    """One unit of a condition: what the model reads.

    Attributes
    ----------
    identifier : str
        Unique within the study, for instance ``"concrete-0001"``.
    condition : str
        Name of the condition that it belongs to.
    words : tuple of str
        The words, in reading order.
    text : str
        What the tokenizer was given; tokenizing it again gives `token_ids`.
    token_ids : tuple of int
        Ids of all real tokens, special ones included, without padding.
    word_index : tuple of int
        For each token the position in `words` of the word it is a piece of; -1 for a special token.
    segment_ids : tuple of int
        The model's segment (token type) of each token; empty where there is one segment.
    cluster : str or None
        What the sequence is one draw of, where several sequences share it.
    pair : str or None
        What joins it with its partner in the other condition, in a paired design. Several sequences
        of one condition may share it: the pair is then the unit, and they are averaged.
    level : str or None
        Name of the level of the second factor, in a two-by-two design.
    context : str or None
        What several sequences have in common beside the condition (a carrier sentence, a clip): a
        crossed random effect of the mixed model.
    target : tuple of int
        Positions in `words` of the words that the study is about; empty where it is about all.
    target_b : tuple of int
        Those of them that are a second span, so that the attention from one span to the other can be had; empty
        where the target is one span.
    covariates : mapping of str to float
        What else may differ between the conditions, named as in the balance table.
    """

    identifier: str
    condition: str
    words: tuple[str, ...]
    text: str
    token_ids: tuple[int, ...]
    word_index: tuple[int, ...]
    segment_ids: tuple[int, ...] = ()
    cluster: str | None = None
    pair: str | None = None
    level: str | None = None
    context: str | None = None
    target: tuple[int, ...] = ()
    target_b: tuple[int, ...] = ()
    covariates: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.word_index) != len(self.token_ids):
            raise InputError(
                f"sequence {self.identifier!r}: word_index has {len(self.word_index)} entries for "
                f"{len(self.token_ids)} tokens; give one entry per token"
            )

    @property
    def target_tokens(self) -> tuple[bool, ...]:
        """Whether each token is a piece of a target word."""
        target = frozenset(self.target)
        return tuple(word in target for word in self.word_index)

    @property
    def target_spans(self) -> tuple[int, ...]:
        """For each token the span of target words that it is of: 1, 2 for `target_b`, 0 for none."""
        target, second = frozenset(self.target), frozenset(self.target_b)
        return tuple(2 if word in second else int(word in target) for word in self.word_index)


@dataclass(frozen=True)
class Condition:
    """One side of the contrast.

    Attributes
    ----------
    name : str
        Short name used in files and legends, for instance ``"concrete"``.
    description : str
        One clause that says what its sequences are.
    """

    name: str
    description: str


@dataclass(frozen=True)
class Factor:
    """The second factor of a two-by-two design, which varies within units.

    Attributes
    ----------
    name : str
        What varies, for instance ``"pool"``.
    levels : pair of Condition
        Its two levels; every unit has sequences of both.
    """

    name: str
    levels: tuple[Condition, Condition]


@dataclass(frozen=True)
class Design:
    """How the sequences may be exchanged under the null hypothesis.

    Attributes
    ----------
    paired : bool
        Whether `Sequence.pair` joins each sequence with one of the other condition.
    clustered : bool
        Whether sequences that share `Sequence.cluster` move together.
    factor : Factor or None
        A second factor within units: `Sequence.pair` names the unit, `Sequence.level` the level.
    predictor : str or None
        Name of the covariate that is a continuous predictor; the two conditions are then its upper
        and lower half, for description only.
    unit : str
        What a unit is called in the report ("answer", "word pair"); empty for sequence, cluster or pair.
    context : str
        What `Sequence.context` is called there ("clip", "carrier").
    """

    paired: bool = False
    clustered: bool = False
    factor: Factor | None = None
    predictor: str | None = None
    unit: str = ""
    context: str = "context"


@dataclass(frozen=True)
class View:
    """Another look at the same sequences, tested beside the whole ones on the primary contrast.

    Attributes
    ----------
    name : str
        Short name used in files and claims, for instance ``"word_as_query"``.
    description : str
        One clause that says what is looked at.
    measure : str
        The summary of each attention row; empty for the run's own measure.
    targets_query : bool
        Whether only the rows of `Sequence.target` are looked at.
    span : {"", "first", "second"}
        Of the targets' rows, only those of the first span or of `Sequence.target_b`; empty for all.
    """

    name: str
    description: str
    measure: str = ""
    targets_query: bool = False
    span: Literal["", "first", "second"] = ""


@dataclass(frozen=True)
class Claim:
    """What a study says before its run; everything else in its report is exploration.

    Attributes
    ----------
    contrast : str
        Name of the contrast: ``"condition"``, in a two-by-two design the factor's name or
        ``"interaction"``, or the name of a view.
    direction : {"two-sided", "greater", "less"}
        Which sign of a - b is expected. A one-sided claim is judged by one-sided tests.
    smallest_effect : float
        In units of Hedges' g: 0 where any effect will do; above it the claim is that effects are larger, which
        minimum-effect tests judge, or where no difference is expected that they are smaller.
    share : float
        The claim is about more than this share of the heads: 0 for some, 0.5 for most.
    measure : str
        What it is about; empty for the study's own measure.
    statement : str
        The claim as a sentence.
    expects_difference : bool
        False where the claim is that nothing differs.
    """

    contrast: str = "condition"
    direction: Literal["two-sided", "greater", "less"] = "two-sided"
    smallest_effect: float = 0.0
    share: float = 0.0
    measure: str = ""
    statement: str = ""
    expects_difference: bool = True

    def __post_init__(self) -> None:
        if self.direction not in ("two-sided", "greater", "less"):
            raise InputError(f'a claim has the direction {self.direction!r}; give "two-sided", "greater" or "less"')
        if not self.smallest_effect >= 0:
            raise InputError(f"a claim has the smallest effect {self.smallest_effect}; give 0 or more")
        if not 0 <= self.share < 1:
            raise InputError(f"a claim has the share {self.share}; give 0 (some heads) to below 1, 0.5 for most")
        if not self.expects_difference and (self.direction != "two-sided" or self.share):
            raise InputError("a claim that nothing differs has a direction or a share; leave them out")


@dataclass(frozen=True)
class Material:
    """What a study's `build` returns.

    Attributes
    ----------
    sequences : tuple of Sequence
        The units of both conditions.
    notes : tuple of str
        What a reader must know of how they were made: ties, words left out, the leftover tail.
    sources : mapping of str to str
        Where the words come from and the hash of each file, for the recipe.
    matched : pair of pandas.DataFrame or None
        Balance tables of the words before and after matching, where they were matched.
    of_words : bool
        Whether sequences are lists of words, which readers see with dots between them, and not texts.
    """

    sequences: tuple[Sequence, ...]
    notes: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    matched: tuple[pd.DataFrame, pd.DataFrame] | None = None
    of_words: bool = False


@dataclass(frozen=True)
class Study:
    """Two conditions, how their sequences are made, and what the comparison can and cannot show.

    Attributes
    ----------
    name : str
        The name on the command line and of the report's folder.
    title : str
        The heading of the report.
    question : str
        One sentence that ends in a question mark.
    conditions : pair of Condition
        a, then b; every difference is a - b.
    build : callable
        ``build(options, tokenizer)`` returns the `Material`; `options` are an `Options`: ``options.seed``, and of the
        study's own ``options.own["max_length"]``.
    design : Design
        What may be exchanged.
    options : tuple of Option
        The study's own options; one that bears the name of a common option replaces it.
    check : callable or None
        ``check(options)`` raises an `InputError` where the options cannot go together. It is called before a model is
        loaded, so that what can be refused at once is.
    caveat : str
        The warning that its verdict deserves, in plain words; empty if none.
    claims : tuple of Claim
        What is claimed before the run; the first one is the primary claim.
    views : tuple of View
        What else is tested of the same sequences.
    measure : str
        What a run compares of each attention row unless ``--measure`` says otherwise. Where it cannot be had of a model
        or its sequences, the measure that it gives way to takes its place (`metastable.measures.Measure.gives_way_to`),
        and the report says so.
    """

    name: str
    title: str
    question: str
    conditions: tuple[Condition, Condition]
    build: Callable[[Options, Tokenizer], Material]
    design: Design = field(default_factory=Design)
    options: tuple[Option, ...] = ()
    check: Callable[[Options], None] | None = None
    caveat: str = ""
    claims: tuple[Claim, ...] = (Claim(),)
    views: tuple[View, ...] = ()
    measure: str = "count_contributions"
