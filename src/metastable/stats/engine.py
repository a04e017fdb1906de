"""The pass over relabelings: every statistic under every relabeling, in blocks of bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from metastable.stats.omnibus import Collector, OmnibusResult, p_value, slack
from metastable.stats.relabelings import Relabelings
from metastable.stats.statistics import Backend, Prepared, Statistic
from metastable.stats.tail import tail_p_values

__all__ = ["PermutationResult", "Plan", "run_permutations"]

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]

# Elements of one product: its handful of temporaries then stay in the cache.
_PRODUCT = 1 << 16


@dataclass(frozen=True)
class PermutationResult:
    """Results of a permutation test, one entry a feature.

    Attributes
    ----------
    statistic : ndarray of float64, shape (n_features,)
        Observed statistic, signed; 0 where flat.
    p_perm : ndarray of float64, shape (n_features,)
        Permutation p of each feature on its own.
    p_fwer : ndarray of float64, shape (n_features,)
        Family-wise p: single-step maximum over the family (Westfall & Young 1993).
    p_fwer_stepdown : ndarray of float64, shape (n_features,)
        Family-wise p by the step-down maximum; never above `p_fwer`.
    n_permutations : int
        Relabelings used.
    exact : bool
        Whether these were all distinct ones.
    flat : ndarray of bool, shape (n_features,)
        Features without variance (beside the nuisance); p = 1.
    omnibus : dict of str to OmnibusResult
        One for each mask.
    n_distinct : int
        Number of distinct relabelings that the design allows; 1 / n_distinct bounds p from below.
    """

    statistic: Floats
    p_perm: Floats
    p_fwer: Floats
    p_fwer_stepdown: Floats
    n_permutations: int
    exact: bool
    flat: NDArray[np.bool_]
    omnibus: dict[str, OmnibusResult]
    n_distinct: int


@dataclass(frozen=True)
class Plan:
    """What to do with the statistics.

    Attributes
    ----------
    alternative : {"two-sided", "greater", "less"}
    family : ndarray of int, shape (n_features,)
        Maxima run within families.
    omnibus : mapping of str to ndarray of bool, shape (n_features,)
        Groups of features to test as one.
    alpha : float
        Level of the number of small p in a group.
    tail : bool
        Whether small p come from a fitted tail.
    block_bytes : int
        Memory for the working arrays of a pass.
    backend : Backend
    callback : callable or None
        Told of progress as ``f(done, total)``.
    """

    alternative: Literal["two-sided", "greater", "less"]
    family: NDArray[np.intp]
    omnibus: Mapping[str, NDArray[np.bool_]]
    alpha: float
    tail: bool
    block_bytes: int
    backend: Backend
    callback: Progress | None = None

    def directed(self, statistic: Floats) -> Floats:
        """Make large values extreme; changes the array given."""
        if self.alternative == "two-sided":
            return np.abs(statistic, out=statistic)
        return statistic if self.alternative == "greater" else np.negative(statistic, out=statistic)


@dataclass(frozen=True)
class _Blocks:
    features: int
    relabelings: int


def _block_sizes(n_units: int, n_features: int, n_relabelings: int, block_bytes: int) -> _Blocks:
    # Half of the memory for what a feature holds all along (values, squares, a copy or two, and its null
    # distribution), half for a block of relabelings (their labels and a few products).
    half = block_bytes // 2 // 8
    features = int(np.clip(half // (4 * n_units + n_relabelings), 1, n_features))
    relabelings = min(half // (3 * n_units + 8 * features), max(_PRODUCT // features, 64))
    return _Blocks(features, max(1, min(relabelings, n_relabelings)))


def _feature_blocks(order: NDArray[np.intp], size: int) -> Iterator[NDArray[np.intp]]:
    for start in range(0, len(order), size):
        yield order[start : start + size]


def run_permutations(values: Floats, statistic: Statistic, relabelings: Relabelings, plan: Plan) -> PermutationResult:
    """Compute the statistics of all features under all relabelings, and their p-values.

    Features run in blocks, in each family from the smallest observed statistic up, so that one running
    maximum gives the step-down procedure; each block sees the same relabelings again. Memory holds one
    block of features with its null distribution, never all of them.

    Parameters
    ----------
    values : ndarray of float64, shape (n_units, n_features)
    statistic : Statistic
    relabelings : Relabelings
    plan : Plan

    Returns
    -------
    PermutationResult
    """
    n_units, n_features = values.shape
    n = relabelings.n
    sizes = _block_sizes(n_units, n_features, n, plan.block_bytes)
    observed = np.empty(n_features)
    flat = np.empty(n_features, dtype=bool)
    scale = np.empty(n_features)
    for block in _feature_blocks(np.arange(n_features), sizes.features):
        prepared = statistic.prepare(values[:, block], plan.backend)
        observed[block] = statistic.observed(prepared, plan.backend)
        flat[block] = prepared.flat
        scale[block] = plan.backend.fetch(prepared.scale)[:, 0]
    observed[flat] = 0.0
    directed = plan.directed(observed.copy())
    margin = slack(directed, scale, studentized=statistic.studentized)

    p_perm, p_single, p_step = np.ones(n_features), np.ones(n_features), np.ones(n_features)
    collector = Collector(plan.omnibus, n)
    step = _StepDown(n)
    order = np.lexsort((directed, plan.family))
    order = order[~flat[order]]
    n_blocks = -(-len(order) // sizes.features) if len(order) else 0
    for index, block in enumerate(_feature_blocks(order, sizes.features)):
        prepared = statistic.prepare(values[:, block], plan.backend)
        null = _null(statistic, prepared, relabelings, plan, sizes.relabelings, (index, n_blocks))
        for feature, row in zip(block, null, strict=True):
            p_perm[feature] = p_value(directed[feature], row, margin[feature], exact=relabelings.exact)
            if plan.tail and not relabelings.exact:
                p_perm[feature] = tail_p_values(directed[[feature]], row, p_perm[[feature]])[0]
            if plan.omnibus:
                critical = _critical(directed[feature], row, plan.alpha, exact=relabelings.exact)
                critical += float(slack(np.array(critical), scale[feature], studentized=statistic.studentized))
                collector.add(feature, directed[feature], row, margin=margin[feature], critical=critical)
            step.add(plan.family[feature], row)
            p_step[feature] = p_value(directed[feature], step.maximum, margin[feature], exact=relabelings.exact)
            if step.family_ends(order, plan.family):
                members = order[plan.family[order] == plan.family[feature]]
                p_single[members], p_step[members] = _family_p(
                    directed[members], margin[members], p_step[members], step.maximum, plan, exact=relabelings.exact
                )
    return PermutationResult(
        statistic=observed,
        p_perm=p_perm,
        p_fwer=p_single,
        p_fwer_stepdown=p_step,
        n_permutations=n,
        exact=relabelings.exact,
        flat=flat,
        omnibus=collector.results(exact=relabelings.exact, tail=plan.tail),
        n_distinct=relabelings.n_distinct,
    )


def _null(
    statistic: Statistic,
    prepared: Prepared,
    relabelings: Relabelings,
    plan: Plan,
    size: int,
    turn: tuple[int, int],
) -> Floats:
    """Directed statistics of a block of features, shape (n_features, n_relabelings)."""
    n = relabelings.n
    null = np.empty((len(prepared.flat), n))
    done = 0
    for relabeled in relabelings.blocks(size):
        part = null[:, done : done + len(relabeled)]
        part[:] = statistic.evaluate(prepared, relabeled, plan.backend)
        plan.directed(part)
        done += len(relabeled)
        if plan.callback is not None:
            plan.callback(turn[0] * n + done, turn[1] * n)
    return null


class _StepDown:
    """Running maximum over the features of a family, from the smallest observed statistic up."""

    def __init__(self, n: int) -> None:
        self.maximum = np.empty(n)
        self._seen = 0
        self._family: int | None = None

    def add(self, family: int, null: Floats) -> None:
        if family != self._family:
            self.maximum = null.copy()
            self._family = int(family)
        else:
            np.maximum(self.maximum, null, out=self.maximum)
        self._seen += 1

    def family_ends(self, order: NDArray[np.intp], family: NDArray[np.intp]) -> bool:
        return self._seen == len(order) or family[order[self._seen]] != self._family


def _critical(observed: float, null: Floats, alpha: float, *, exact: bool) -> float:
    """Largest statistic whose p among the others is not below alpha."""
    pool = null if exact else np.append(null, observed)
    # p = (number reaching the statistic) / len(pool) is below alpha for at most `few` of the pool.
    few = int(np.ceil(alpha * len(pool) - 1e-9)) - 1
    place = len(pool) - 1 - few
    return float(np.partition(pool, place)[place])


def _family_p(
    observed: Floats, margin: Floats, p_step: Floats, maximum: Floats, plan: Plan, *, exact: bool
) -> tuple[Floats, Floats]:
    """Single-step and step-down p of a family's features, in rising order of the statistic."""
    ordered = np.sort(maximum)
    reached = len(ordered) - np.searchsorted(ordered, observed - margin, side="left")
    single = reached / len(ordered) if exact else (reached + 1) / (len(ordered) + 1)
    if plan.tail and not exact:
        single = tail_p_values(observed, maximum, single)
    # A hypothesis is only rejected once all before it are: p rises from the largest statistic down.
    step = np.maximum.accumulate(p_step[::-1])[::-1]
    return single, np.minimum(step, single)
