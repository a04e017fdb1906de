"""What is compared with what: the contrasts of a design, each as units, weights and fixed effects."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from metastable.errors import InputError
from metastable.heads.crossings import (
    Crossing,
    average_weights,
    contexts_vary,
    crossing_of,
    factorial_crossings,
    unsigned,
    within_halves,
)
from metastable.measures import call_measure
from metastable.study import Condition, Sequence, Study

__all__ = ["Contrast", "contrasts_of"]


@dataclass(frozen=True)
class Contrast:
    """One comparison a - b, ready for the statistics.

    Attributes
    ----------
    name : str
        ``"condition"``, the second factor's name, or ``"interaction"``.
    a, b : Condition
        What is compared with what.
    unit : str
        What one observation is, for readers: "sequence", "cluster", "pair", ...
    weights : scipy.sparse array, shape (n_units, n_sequences)
        ``weights @ means`` turns the sequences' means into the units' values.
    condition : ndarray of bool, shape (n_units,)
        True for a.
    pair : ndarray of int or None, shape (n_units,)
        Joins a unit of a with one of b.
    predictor : ndarray of float64 or None, shape (n_units,)
        The continuous predictor, where the design has one.
    covariates : pandas.DataFrame of n_units rows
        Mean of each covariate over the unit's sequences.
    design : ndarray of float64, shape (n_sequences, p)
        Fixed effects of the mixed model, the intercept first and the tested one second.
    formula : str
        These, as lme4 writes them.
    crossed : ndarray of int or None, shape (n_sequences,)
        Second grouping factor of the mixed model.
    crossed_name : str
        Its name in the formula.
    repeated : ndarray of int or None, shape (n_sequences,)
        First grouping factor of a mixed model of sequence means instead of token counts: the side of a pair,
        where a side has several sequences, or the cluster, where clusters are crossed with contexts.
    repeated_name : str
        Its name in the formula.
    crossing : Crossing or None
        Items and contexts, where the design has several of both: what the tests are over.
    averaged : str
        Why contexts are averaged away, where a design has some and no `crossing`; else empty.
    """

    name: str
    a: Condition
    b: Condition
    unit: str
    weights: sparse.csr_array
    condition: NDArray[np.bool_]
    pair: NDArray[np.intp] | None
    predictor: NDArray[np.float64] | None
    covariates: pd.DataFrame
    design: NDArray[np.float64] = field(repr=False)
    formula: str = "condition"
    crossed: NDArray[np.intp] | None = None
    crossed_name: str = ""
    repeated: NDArray[np.intp] | None = None
    repeated_name: str = ""
    crossing: Crossing | None = None
    averaged: str = ""

    def mixed_formula(self, measure: str, covariates: tuple[str, ...] = ()) -> str:
        """Write the mixed model as lme4 does; `covariates` are nuisance covariates."""
        measure, fixed = call_measure(measure), " + ".join([self.formula, *covariates])
        second = f" + (1 | {self.crossed_name})" if self.crossed is not None else ""
        if self.repeated is not None:
            return f"mean {measure} ~ {fixed} + (1 | {self.repeated_name}){second}"
        return f"{measure} ~ {fixed} + (1 | sequence){second}"

    @property
    def n_a(self) -> int:
        """Units of a."""
        return int(self.condition.sum())

    @property
    def n_b(self) -> int:
        """Units of b."""
        return int((~self.condition).sum())

    @property
    def sides(self) -> NDArray[np.intp]:
        """Side of each sequence: 0 for a, 1 for b, -1 for none; int array of shape (n_sequences,)."""
        sides = np.full(self.weights.shape[1], -1, dtype=np.intp)
        units, sequences = self.weights.nonzero()
        sides[sequences] = ~self.condition[units]
        return sides

    def values(self, means: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn sequence means, shape (n_sequences, n), into unit values, shape (n_units, n)."""
        return np.asarray(self.weights @ means)


def _codes(values: list[str | None], what: str, sequences: tuple[Sequence, ...]) -> NDArray[np.intp]:
    codes = pd.factorize(pd.Series(values, dtype="object"))[0]
    if (codes < 0).any():
        lost = sequences[int(np.argmin(codes))].identifier
        raise InputError(f"sequence {lost!r} has no {what}; the design of its study needs one for each sequence")
    return np.asarray(codes, dtype=np.intp)


def _mean_covariates(weights: sparse.csr_array, covariates: pd.DataFrame) -> pd.DataFrame:
    if covariates.empty:
        return pd.DataFrame(index=range(weights.shape[0]))
    return pd.DataFrame(weights @ covariates.to_numpy(dtype=np.float64), columns=covariates.columns)


def _context(sequences: tuple[Sequence, ...]) -> NDArray[np.intp] | None:
    contexts = [sequence.context for sequence in sequences]
    if all(context is None for context in contexts):
        return None
    return _codes(contexts, "context", sequences)


def _blocks(contexts: NDArray[np.intp]) -> NDArray[np.float64]:
    """Sum-to-zero codes of the contexts, shape (n_sequences, n_contexts - 1): blocks of the mixed model."""
    indicators = np.eye(int(contexts.max()) + 1)[contexts]
    return np.asarray(indicators[:, :-1] - indicators[:, -1:], dtype=np.float64)


def _in_formula(noun: str) -> str:
    return noun.replace(" ", "_")


def _require_two(contrast: Contrast) -> Contrast:
    for condition, n in ((contrast.a, contrast.n_a), (contrast.b, contrast.n_b)):
        if n < 2:
            raise InputError(
                f"condition {condition.name} has {n} {contrast.unit}{'' if n == 1 else 's'}; a test needs at least "
                "two in each condition, so give more words or a smaller --max-length"
            )
    return contrast


def _condition_contrast(study: Study, sequences: tuple[Sequence, ...], covariates: pd.DataFrame) -> Contrast:
    a, b = study.conditions
    in_a = np.array([sequence.condition == a.name for sequence in sequences])
    pair: NDArray[np.intp] | None = None
    contexts, context_name = _context(sequences), study.design.context
    crossed, crossed_name = contexts, context_name
    repeated: NDArray[np.intp] | None = None
    repeated_name = ""
    items = np.arange(len(sequences))
    if study.design.paired:
        pairs = _codes([s.pair for s in sequences], "pair", sequences)
        sides = pd.Series(in_a).groupby(pairs).nunique()
        if (sides < 2).any():
            lost = next(s for s, code in zip(sequences, pairs, strict=True) if sides[code] < 2)
            raise InputError(
                f"pair {lost.pair!r} has sequences in {lost.condition} only; give it a partner or leave it out"
            )
        members = pairs * 2 + ~in_a
        n_pairs = int(pairs.max()) + 1
        weights = average_weights(members, 2 * n_pairs)
        condition = np.arange(2 * n_pairs) % 2 == 0
        pair, unit = np.repeat(np.arange(n_pairs), 2), "pair"
        items = pairs
        crossed, crossed_name = pairs, _in_formula(study.design.unit or "pair")
        # Tokens in the same places of the same sentences are no draws: each sentence gives one value, and
        # what varies between the sides of a pair is what the condition is tested against.
        repeated = members if len(members) > 2 * n_pairs else None
        repeated_name = f"{crossed_name}:condition"
    elif study.design.clustered:
        clusters = _codes([s.cluster for s in sequences], "cluster", sequences)
        share = np.bincount(clusters, weights=in_a) / np.bincount(clusters)
        if np.any((share > 0) & (share < 1)):
            code = int(np.argmax((share > 0) & (share < 1)))
            name = sequences[int(np.argmax(clusters == code))].cluster
            raise InputError(
                f"cluster {name!r} has sequences in both conditions; make the study paired, with the cluster as pair"
            )
        weights, condition, unit = average_weights(clusters, len(share)), share == 1, "cluster"
        items = clusters
        if int(clusters.max()) + 1 < len(sequences):
            crossed, crossed_name = clusters, _in_formula(study.design.unit or "cluster")
            # A clip in which several questions are asked is a draw too; the sequence is then the residual.
            if contexts is not None and contexts_vary(contexts, clusters):
                repeated, repeated_name = clusters, crossed_name
                crossed, crossed_name = contexts, context_name
    else:
        weights, condition, unit = average_weights(np.arange(len(sequences)), len(sequences)), in_a, "sequence"
    predictor: NDArray[np.float64] | None = None
    design = np.column_stack([np.ones(len(sequences)), in_a])
    formula = "condition"
    if pair is not None and repeated is not None and contexts is not None:
        design, formula = np.column_stack([design, _blocks(contexts)]), f"condition + {context_name}"
    if study.design.predictor is not None:
        name = study.design.predictor
        if pair is not None:
            raise InputError(
                f"study {study.name} is paired and has the continuous predictor {name}; give it one of both"
            )
        values = covariates[name].to_numpy(dtype=np.float64)
        predictor, formula = np.asarray(weights @ values), name
        design = np.column_stack([np.ones(len(sequences)), values])
        covariates = covariates.drop(columns=name)
    if crossed is not None and repeated is None and int(crossed.max()) + 1 == len(sequences):
        crossed = None  # one sequence each: the sequence's own effect says it all
    return _require_two(
        Contrast(
            name="condition",
            a=a,
            b=b,
            unit=study.design.unit or unit,
            weights=weights,
            condition=condition,
            pair=pair,
            predictor=predictor,
            covariates=_mean_covariates(weights, covariates),
            design=design,
            formula=formula,
            crossed=crossed,
            crossed_name=crossed_name if crossed is not None else "",
            repeated=repeated,
            repeated_name=repeated_name if repeated is not None else "",
            crossing=crossing_of(
                in_a,
                items,
                contexts,
                (study.design.unit or unit, context_name),
                covariates,
                None if predictor is None else (formula, design[:, 1]),
            ),
        )
    )


def _factorial_contrasts(
    study: Study, sequences: tuple[Sequence, ...], covariates: pd.DataFrame
) -> tuple[Contrast, ...]:
    factor = study.design.factor
    if factor is None:
        raise InputError(f"study {study.name} has no second factor")
    a, b = study.conditions
    first, second = factor.levels
    noun = study.design.unit or "unit"
    units = _codes([s.pair for s in sequences], "pair", sequences)
    n_units = int(units.max()) + 1
    in_a = np.array([s.condition == a.name for s in sequences])
    on_first = np.array([s.level == first.name for s in sequences])
    share = np.bincount(units, weights=in_a) / np.bincount(units)
    if np.any((share > 0) & (share < 1)):
        return _within_contrasts(study, sequences, covariates, units, in_a, on_first)
    unit_in_a = np.zeros(n_units, dtype=bool)
    unit_in_a[units[in_a]] = True
    cells = average_weights(units * 2 + ~on_first, 2 * n_units)
    if (np.diff(cells.indptr) == 0).any():
        lost = int(np.argmax(np.diff(cells.indptr) == 0)) // 2
        name = sequences[int(np.argmax(units == lost))].pair
        raise InputError(f"{name!r} lacks a level of {factor.name}; give every unit sequences of both levels")
    average = sparse.csr_array(sparse.kron(sparse.eye_array(n_units), np.array([[0.5, 0.5]])))
    contrast = sparse.csr_array(sparse.kron(sparse.eye_array(n_units), np.array([[1.0, -1.0]])))
    # sum-to-zero codes, so that each coefficient is the effect averaged over the other factor
    x, z = in_a - 0.5, on_first - 0.5
    ones = np.ones(len(sequences))
    interaction = x * z
    means = _mean_covariates(sparse.csr_array(average @ cells), covariates)
    crossings, averaged = factorial_crossings(
        factor, (in_a, on_first), units, _context(sequences), (noun, study.design.context), covariates, within=False
    )

    def build(
        name: str,
        sides: tuple[Condition, Condition],
        weights: sparse.csr_array,
        condition: NDArray[np.bool_],
        pair: NDArray[np.intp] | None,
        table: pd.DataFrame,
        columns: list[NDArray[np.float64]],
    ) -> Contrast:
        return _require_two(
            Contrast(
                name=name,
                a=sides[0],
                b=sides[1],
                unit=noun,
                weights=sparse.csr_array(weights),
                condition=condition,
                pair=pair,
                predictor=None,
                covariates=table,
                design=np.column_stack([ones, *columns]),
                formula=f"condition * {factor.name}",
                crossed=units,
                crossed_name=_in_formula(noun),
                crossing=crossings.get(name),
                averaged=averaged,
            )
        )

    both = (
        Condition(f"{first.name} − {second.name} in {a.name}", f"difference of {factor.name} among {a.name}"),
        Condition(f"{first.name} − {second.name} in {b.name}", f"difference of {factor.name} among {b.name}"),
    )
    within = np.arange(2 * n_units) % 2 == 0
    return (
        build(
            "interaction", both, contrast @ cells, unit_in_a, None, means, [interaction, x, z]
        ),
        build("condition", (a, b), average @ cells, unit_in_a, None, means, [x, z, interaction]),
        build(
            factor.name,
            factor.levels,
            cells,
            within,
            np.repeat(np.arange(n_units), 2),
            _mean_covariates(cells, covariates),
            [z, x, interaction],
        ),
    )  # fmt: skip


def _within_contrasts(
    study: Study,
    sequences: tuple[Sequence, ...],
    covariates: pd.DataFrame,
    units: NDArray[np.intp],
    in_a: NDArray[np.bool_],
    on_first: NDArray[np.bool_],
) -> tuple[Contrast, ...]:
    """Contrasts of two factors that both vary within units: each compares two values of every unit, as a pair."""
    factor = study.design.factor
    if factor is None:
        raise InputError(f"study {study.name} has no second factor")
    (a, b), (first, second) = study.conditions, factor.levels
    n_units = int(units.max()) + 1
    members = (units * 2 + ~in_a) * 2 + ~on_first
    cells = average_weights(members, 4 * n_units)
    empty = np.diff(cells.indptr) == 0
    if empty.any():
        name = sequences[int(np.argmax(units == int(np.argmax(empty)) // 4))].pair
        raise InputError(
            f"{name!r} lacks a level of {factor.name} in a condition; give every unit sequences of both levels in both"
        )
    halves = within_halves(factor.name)
    differences = tuple(
        Condition(f"{first.name} − {second.name} in {one.name}", f"difference of {factor.name} among {one.name}")
        for one in (a, b)
    )
    sides = {"interaction": differences, "condition": (a, b), factor.name: factor.levels}
    x, z = in_a - 0.5, on_first - 0.5
    fixed = {"interaction": [x * z, x, z], "condition": [x, z, x * z], factor.name: [z, x, x * z]}
    noun = study.design.unit or "unit"
    crossings, averaged = factorial_crossings(
        factor, (in_a, on_first), units, _context(sequences), (noun, study.design.context), covariates, within=True
    )
    made = []
    for name, half in halves.items():
        weights = sparse.csr_array(sparse.kron(sparse.eye_array(n_units), half) @ cells)
        # a difference of levels has no covariates: those of its two cells are averaged
        plain = sparse.csr_array(sparse.kron(sparse.eye_array(n_units), unsigned(half)))
        made.append(
            _require_two(
                Contrast(
                    name=name,
                    a=sides[name][0],
                    b=sides[name][1],
                    unit=noun,
                    weights=weights,
                    condition=np.arange(2 * n_units) % 2 == 0,
                    pair=np.repeat(np.arange(n_units), 2),
                    predictor=None,
                    covariates=_mean_covariates(sparse.csr_array(plain @ cells), covariates),
                    design=np.column_stack([np.ones(len(sequences)), *fixed[name]]),
                    formula=f"condition * {factor.name}",
                    crossed=units,
                    crossed_name=_in_formula(noun),
                    repeated=members if len(members) > 4 * n_units else None,
                    repeated_name=f"{_in_formula(noun)}:condition:{factor.name}" if len(members) > 4 * n_units else "",
                    crossing=crossings.get(name),
                    averaged=averaged,
                )
            )
        )
    return tuple(made)


def contrasts_of(study: Study, sequences: tuple[Sequence, ...]) -> tuple[Contrast, ...]:
    """Return the contrasts of a study, the primary one first.

    Parameters
    ----------
    study : Study
    sequences : tuple of Sequence

    Returns
    -------
    tuple of Contrast
        One, or in a two-by-two design three: the interaction and the two main effects, ordered so that
        the contrast of the study's first claim leads.

    Raises
    ------
    InputError
        If a sequence is of neither condition, a condition has fewer than two units, a cluster lies in both
        conditions, a pair lacks its partner, or a unit lacks a level.
    """
    names = [condition.name for condition in study.conditions]
    for sequence in sequences:
        if sequence.condition not in names:
            raise InputError(
                f"sequence {sequence.identifier!r} is of the condition {sequence.condition!r}; the conditions of study "
                f"{study.name} are {names[0]!r} and {names[1]!r}"
            )
    covariates = pd.DataFrame([dict(sequence.covariates) for sequence in sequences])
    if study.design.factor is None:
        return (_condition_contrast(study, sequences, covariates),)
    contrasts = _factorial_contrasts(study, sequences, covariates)
    first = study.claims[0].contrast if study.claims else "interaction"
    return tuple(sorted(contrasts, key=lambda contrast: contrast.name != first))
