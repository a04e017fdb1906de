"""The pass over relabelings: every statistic under every relabeling, in blocks of bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metastable.stats.parallel_blocks import blas_threads, side_by_side
from metastable.stats.permutations.omnibus import Collector, OmnibusResult, p_value, slack
from metastable.stats.permutations.on_device import (
    Labels,
    add_to_groups,
    critical_values,
    null_on_device,
    number_reaching,
    running_maxima,
)
from metastable.stats.permutations.relabelings import Relabelings
from metastable.stats.permutations.statistics import CPU, Backend, Prepared, Statistic
from metastable.stats.permutations.tail import tail_p_values

__all__ = ["Alternative", "PermutationResult", "Plan", "Progress", "run_permutations"]

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]
Alternative = Literal["two-sided", "greater", "less"]

# Values that a thread of its own repays to make ready.
_WORTH_A_THREAD = 1 << 17


@dataclass(frozen=True)
class PermutationResult:
    """Results of a permutation test, one entry per feature.

    Attributes
    ----------
    statistic : ndarray of float64, shape (n_features,)
        Observed statistic, signed; 0 where flat. One that is not finite has p = 1.
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
        Number of distinct relabelings that the design allows, which bounds p from below; numbers above
        10^18 are given as that.
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

    alternative: Alternative
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


def _block_sizes(n_units: int, n_features: int, n_relabelings: int, plan: Plan) -> _Blocks:
    # Half of the memory for what a feature holds all along (values, squares, a copy or two, and its null
    # distribution), half for the blocks of relabelings at work side by side (their labels and a few products).
    half = plan.block_bytes // 2 // 8
    at_work = blas_threads() if plan.backend is CPU else 1
    features = int(np.clip(half // (5 * n_units + n_relabelings), 1, n_features))
    relabelings = min(half // at_work // (3 * n_units + 10 * features), max(plan.backend.grain // features, 64))
    return _Blocks(features, max(1, min(relabelings, n_relabelings)))


def _feature_blocks(order: NDArray[np.intp], size: int) -> Iterator[NDArray[np.intp]]:
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _prepare(statistic: Statistic, values: Floats, plan: Plan) -> Callable[[NDArray[np.intp]], Prepared]:
    """Return what makes a block of features ready.

    A device gets the values once, where a copy of them takes no more memory than it may, and makes ready there what it
    is asked for; the host does it on threads side by side.
    """
    backend = plan.backend
    if backend is not CPU:
        if values.nbytes > plan.block_bytes:
            return lambda block: statistic.prepare(values[:, block], backend)
        there = backend.send(values)
        return lambda block: statistic.prepare(there[:, backend.send(block)], backend)

    def here(block: NDArray[np.intp]) -> Prepared:
        size = max(_WORTH_A_THREAD // len(values), -(-len(block) // blas_threads()))
        if size >= len(block):
            return statistic.prepare(values[:, block], backend)
        parts = side_by_side(lambda part: statistic.prepare(values[:, part], backend), _feature_blocks(block, size))
        return Prepared.of_parts(list(parts))

    return here


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
    sizes = _block_sizes(n_units, n_features, relabelings.n, plan)
    prepare = _prepare(statistic, values, plan)
    observed, scale = np.empty(n_features), np.empty(n_features)
    flat = np.empty(n_features, dtype=bool)
    for block in _feature_blocks(np.arange(n_features), sizes.features):
        prepared = prepare(block)
        observed[block] = statistic.observed(prepared, plan.backend)
        scale[block] = plan.backend.fetch(prepared.scale)[:, 0]
        flat[block] = prepared.flat
    observed[flat] = 0.0
    # What has no finite statistic shows nothing: its p stays 1, and no maximum or sum has it.
    lost = ~np.isfinite(observed)
    directed = plan.directed(np.where(lost, 0.0, observed))
    order = np.lexsort((directed, plan.family))
    order = order[~(flat | lost)[order]]
    found = _Found(
        statistic=statistic,
        prepare=prepare,
        relabelings=relabelings,
        plan=plan,
        sizes=sizes,
        directed=directed,
        margin=slack(directed, scale, studentized=statistic.studentized),
        scale=scale,
        order=order,
        # The last feature of a family has the largest statistic, and the maximum by then is the family's.
        last=np.append(np.diff(plan.family[order]) != 0, True),
        p_perm=np.ones(n_features),
        p_single=np.ones(n_features),
        p_step=np.ones(n_features),
        groups=Collector(plan.omnibus, relabelings.n, not statistic.quadratic),
    )
    # A tail is fitted where the null distributions are.
    if plan.backend.device is not None and not found.fit:
        _compare_there(found)
    else:
        _compare_here(found)
    return PermutationResult(
        statistic=observed,
        p_perm=found.p_perm,
        p_fwer=found.p_single,
        p_fwer_stepdown=found.p_step,
        n_permutations=relabelings.n,
        exact=relabelings.exact,
        flat=flat,
        omnibus=found.groups.results(exact=relabelings.exact, tail=plan.tail),
        n_distinct=relabelings.n_distinct,
    )


@dataclass(frozen=True)
class _Found:
    """A pass over relabelings: what it compares, and the p-values that it fills.

    `directed, margin, scale, p_perm, p_single, p_step` have shape (n_features,); `order` lists the features that are
    compared, each family from the smallest observed statistic up, and `last` says of each whether it ends its family.
    """

    statistic: Statistic
    prepare: Callable[[NDArray[np.intp]], Prepared]
    relabelings: Relabelings
    plan: Plan
    sizes: _Blocks
    directed: Floats
    margin: Floats
    scale: Floats
    order: NDArray[np.intp]
    last: NDArray[np.bool_]
    p_perm: Floats
    p_single: Floats
    p_step: Floats
    groups: Collector

    @property
    def fit(self) -> bool:
        """Whether small p come from a fitted tail."""
        return self.plan.tail and not self.relabelings.exact

    def blocks(self) -> Iterator[tuple[NDArray[np.intp], tuple[int, int]]]:
        """Yield the blocks of features in order, each with its number and that of all."""
        n_blocks = -(-len(self.order) // self.sizes.features)
        for index, block in enumerate(_feature_blocks(self.order, self.sizes.features)):
            yield block, (index, n_blocks)

    def end_family(self, feature: int, single: Callable[[NDArray[np.intp]], Floats]) -> None:
        """Fill the single-step p of the family of its last feature, and let those of the step-down rise."""
        family = self.order[self.plan.family[self.order] == self.plan.family[feature]]
        self.p_single[family] = single(family)
        # A hypothesis is only rejected once all before it are: p rises as the statistic falls.
        rising = np.maximum.accumulate(self.p_step[family][::-1])[::-1]
        self.p_step[family] = np.minimum(rising, self.p_single[family])


def _compare_here(found: _Found) -> None:
    """Compare null distributions that lie in the host's memory, feature by feature."""
    statistic, plan, exact, directed = found.statistic, found.plan, found.relabelings.exact, found.directed
    square = not statistic.quadratic
    maximum = np.full(found.relabelings.n, -np.inf)

    def single(family: NDArray[np.intp]) -> Floats:
        p = np.array([p_value(directed[j], maximum, found.margin[j], exact=exact) for j in family])
        return tail_p_values(directed[family], maximum, p, square=square) if found.fit else p

    place = 0
    for block, turn in found.blocks():
        prepared = found.prepare(block)
        null = _null(statistic, prepared, found.relabelings, plan, found.sizes.relabelings, turn)
        for k, row in zip(block, null, strict=True):
            found.p_perm[k] = p_value(directed[k], row, found.margin[k], exact=exact)
            if found.fit:
                found.p_perm[k] = tail_p_values(directed[[k]], row, found.p_perm[[k]], square=square)[0]
            if plan.omnibus:
                critical = _critical(directed[k], row, plan.alpha, exact=exact)
                critical += float(slack(critical, found.scale[k], studentized=statistic.studentized))
                found.groups.add(k, directed[k], row, margin=found.margin[k], critical=critical)
            np.maximum(maximum, row, out=maximum)
            found.p_step[k] = p_value(directed[k], maximum, found.margin[k], exact=exact)
            if found.last[place]:
                found.end_family(k, single)
                maximum.fill(-np.inf)
            place += 1


def _compare_there(found: _Found) -> None:
    """Compare null distributions that stay on the device of the backend, a block of features at a time."""
    statistic, plan, n, exact = found.statistic, found.plan, found.relabelings.n, found.relabelings.exact
    labels = Labels(found.relabelings, plan.backend, plan.block_bytes)
    maximum, place = np.full(n, -np.inf), 0
    bounds = found.directed - found.margin
    for block, turn in found.blocks():
        prepared = found.prepare(block)
        there = _null_there(statistic, prepared, labels, plan, found.sizes.relabelings, turn, n)
        found.p_perm[block] = _p_values(number_reaching(there, bounds[block]), n, exact=exact)
        if plan.omnibus:
            criticals = critical_values(there, found.directed[block], plan.alpha, exact=exact)
            criticals += slack(criticals, found.scale[block], studentized=statistic.studentized)
            add_to_groups(found.groups, block, found.directed[block], there, found.margin[block], criticals)
        ends = np.flatnonzero(found.last[place : place + len(block)]) + 1
        for part in np.split(np.arange(len(block)), ends):
            if not len(part):
                continue
            start, stop = int(part[0]), int(part[-1]) + 1
            reached, maximum = running_maxima(there[start:stop], maximum, bounds[block[start:stop]])
            found.p_step[block[part]] = _p_values(reached, n, exact=exact)
            if found.last[place + stop - 1]:
                ordered = np.sort(maximum)

                def single(family: NDArray[np.intp], ordered: Floats = ordered) -> Floats:
                    return _p_values(n - np.searchsorted(ordered, bounds[family], side="left"), n, exact=exact)

                found.end_family(int(block[stop - 1]), single)
                maximum = np.full(n, -np.inf)
        place += len(block)


def _p_values(reached: NDArray[np.integer[Any]], n: int, *, exact: bool) -> Floats:
    """As `p_value`, of the numbers of relabelings that reach."""
    return np.asarray(reached / n if exact else (reached + 1) / (n + 1))


def _null_there(
    statistic: Statistic,
    prepared: Prepared,
    labels: Labels,
    plan: Plan,
    size: int,
    turn: tuple[int, int],
    n: int,
) -> Any:
    """As `_null`, on the device of the backend, where it stays."""
    null, done = plan.backend.send(np.empty((0, 0))).new_empty(len(prepared.flat), n), 0
    for part in null_on_device(statistic, prepared, labels, size, plan.backend, plan.alternative):
        null[:, done : done + part.shape[1]] = part
        done += part.shape[1]
        if plan.callback is not None:
            plan.callback(turn[0] * n + done, turn[1] * n)
    return null


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

    def fill(start: int, relabeled: NDArray[Any]) -> int:
        part = plan.directed(np.array(statistic.evaluate(prepared, relabeled, plan.backend)))
        # A relabeling without a number counts as reaching whatever was observed.
        part[np.isnan(part)] = np.inf
        stop = start + len(relabeled)
        null[:, start:stop] = part
        return stop

    def draw_and_fill(start: int) -> int:
        relabeled = relabelings.part(start, min(start + span, n))
        for done in range(0, len(relabeled), size):
            stop = fill(start + done, relabeled[done : done + size])
        return stop

    if plan.backend is CPU:
        # Each thread draws what it evaluates, whole chunks of relabelings, in products that suit the cache.
        span = max(size // relabelings.grain, 1) * relabelings.grain
        parts = side_by_side(draw_and_fill, range(0, n, span))
    else:
        parts = map(fill, range(0, n, size), relabelings.blocks(size))
    for done in parts:
        if plan.callback is not None:
            plan.callback(turn[0] * n + done, turn[1] * n)
    return null


def _critical(observed: float, null: Floats, alpha: float, *, exact: bool) -> float:
    """Largest statistic whose p among the others is not below alpha."""
    pool = null if exact else np.append(null, observed)
    # p = (number reaching the statistic) / len(pool) is below alpha for at most `few` of the pool.
    few = int(np.ceil(alpha * len(pool) - 1e-9)) - 1
    place = len(pool) - 1 - few
    return float(np.partition(pool, place)[place])
