"""Type I error of tests of words that are read together in random packings, where nothing differs.

    python benchmarks/packings.py [--replicates 2000]

Words of two lists that do not differ are packed at random into sequences; a reading is the word's own value, the noise
of its sequence (its share of a reading's variance is the within-sequence correlation), what the other words of the
sequence do to it (the same word does the same in every packing; `moves`, in standard deviations of a word's own value),
and noise of its own. Columns: words taken as independent draws; words widened by what they share
(`metastable.stats.shared_noise`), as studies with --packings test them; the sequences of the first packing, as studies
test them otherwise. One packing stays with its sequences: of few words its widened words err, as the table shows.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metastable.stats.permutations.permutation import permutation_test
from metastable.stats.shared_noise import Readings, shared_noise
from metastable.stats.simulation.monte_carlo import estimate_rate

ALPHA, WORDS_OF_SEQUENCE = 0.05, 9


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    words: int
    packings: int
    correlation: float
    moves: float


def cases() -> Iterator[Case]:
    """Yield the sizes, numbers of packings and correlations that are tried."""
    for words in (90, 360):
        for correlation, moves in ((0.0, 0.0), (0.1, 0.0), (0.3, 0.0), (0.1, 0.3)):
            for packings in (1, 2, 5, 10):
                yield Case(words, packings, correlation, moves)


def readings(case: Case, n_features: int, rng: np.random.Generator) -> tuple[Readings, NDArray[np.bool_]]:
    """Read the words of two lists of a size, every feature a replicate of its own."""
    n = case.words
    n_sequences = n // WORDS_OF_SEQUENCE
    unit, group = [], []
    for number in range(2 * case.packings):
        packing, side = divmod(number, 2)
        unit.append(side * n + rng.permutation(n))
        group.append((2 * packing + side) * n_sequences + np.arange(n) // WORDS_OF_SEQUENCE)
    owner, sequence = np.concatenate(unit), np.concatenate(group)
    # a third of what the sequence does not explain is the reading's own
    shared, single = np.sqrt(case.correlation), np.sqrt((1 - case.correlation) / 3)
    own = np.sqrt(2 * (1 - case.correlation) / 3) * rng.normal(size=(2 * n, n_features))
    values = own[owner] + shared * rng.normal(size=(int(sequence.max()) + 1, n_features))[sequence]
    values += single * rng.normal(size=values.shape)
    if case.moves:
        done = case.moves * rng.normal(size=own.shape)
        sums = np.zeros((int(sequence.max()) + 1, n_features))
        np.add.at(sums, sequence, done[owner])
        values += sums[sequence] - done[owner]
    return Readings(values, owner, sequence), np.arange(2 * n) < n


def called(values: NDArray[np.float64], condition: NDArray[np.bool_]) -> str:
    """Share of the replicates whose permutation test calls a difference, with its Monte Carlo interval."""
    p = permutation_test(values, condition, n_permutations=999, rng=1).p_perm
    rate = estimate_rate((p < ALPHA).astype(float))
    return f"{rate.estimate:.3f} [{rate.low:.3f}, {rate.high:.3f}]"


def row(case: Case, replicates: int, rng: np.random.Generator) -> list[str]:
    """Rates of the three tests in one case."""
    found, condition = readings(case, replicates, rng)
    widened = shared_noise(found, [np.column_stack([np.ones(len(condition)), condition])])
    first = found.group < 2 * (case.words // WORDS_OF_SEQUENCE)
    sums = np.zeros((int(found.group[first].max()) + 1, replicates))
    np.add.at(sums, found.group[first], found.values[first])
    in_a = np.arange(len(sums)) < len(sums) // 2
    return [
        str(case.words), str(case.packings), f"{case.correlation:.1f}", f"{case.moves:.1f}",
        called(found.means, condition), called(widened.values, condition),
        called(sums / WORDS_OF_SEQUENCE, in_a), f"{np.median(widened.design_effect):.2f}",
    ]  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--replicates", type=int, default=2000)
    replicates = parser.parse_args().replicates
    rng = np.random.default_rng(20)
    print("words | packings | correlation | moves | words, naive | words, widened | sequences of one | design effect")
    for case in cases():
        print(" | ".join(row(case, replicates, rng)), flush=True)


if __name__ == "__main__":
    main()
