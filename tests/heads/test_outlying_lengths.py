"""Which lengths are far above the others, and the size of effects without them."""

from __future__ import annotations

import numpy as np
import pytest

from metastable.heads.contrasts import contrasts_of
from metastable.heads.outlying_lengths import far_longer, outlying_lengths
from metastable.stats.effects import hedges_g
from metastable.study import Condition, Design, Material, Sequence, Study

SIDES = [0] * 61 + [1] * 60


def study(**design: object) -> Study:
    return Study(
        name="s", title="t", question="q?", conditions=(Condition("a", "a"), Condition("b", "b")),
        build=lambda options, tokenizer: Material(()), design=Design(**design),
    )  # fmt: skip


def sequence(name: str, condition: str, length: int, **more: object) -> Sequence:
    return Sequence(name, condition, ("w",), "w", (5,) * length, (0,) * length, **more)


def test_one_text_of_106_tokens_among_120_short_ones_is_far_longer():
    lengths = np.random.default_rng(0).integers(8, 16, 121)
    assert not far_longer(lengths, SIDES).any()
    lengths[17] = 106
    assert far_longer(lengths, SIDES).nonzero()[0].tolist() == [17]


def test_lengths_of_natural_texts_are_seldom_far():
    rng = np.random.default_rng(2)
    n_far = [far_longer(rng.lognormal(3, 0.6, 200).astype(int) + 1, [0, 1] * 100).sum() for _ in range(300)]
    assert np.mean(n_far) < 0.5
    assert np.mean(np.array(n_far) > 2) < 0.02


def test_a_condition_of_long_texts_has_no_outlier_for_being_one():
    lengths = [10] * 30 + [100] * 5
    assert not far_longer(lengths, [0] * 30 + [1] * 5).any()
    assert far_longer([20] * 30 + [41], [0] * 31)[-1]
    assert not far_longer([20] * 30 + [39], [0] * 31).any()


def test_sequences_of_neither_side_and_images_are_none():
    assert not far_longer([10] * 9 + [500], [0] * 9 + [-1]).any()
    assert not far_longer([0] * 10, [0] * 10).any()


def test_the_size_without_is_that_of_the_other_units():
    rng = np.random.default_rng(1)
    sequences = [sequence(f"a{i}", "a", 10 + i % 3) for i in range(20)] + [sequence("long", "a", 90)]
    sequences += [sequence(f"b{i}", "b", 10 + i % 3) for i in range(20)]
    contrast = contrasts_of(study(), tuple(sequences))[0]
    values = rng.normal(size=(41, 6)) + contrast.condition[:, None]
    values[20] += 30
    found = outlying_lengths(contrast, sequences, values)
    assert found is not None
    assert (found.identifiers, found.lengths, found.n_units) == (("long",), (90,), 1)
    assert (found.shortest, found.typical, found.longest) == (10, 11, 12)
    kept = np.arange(41) != 20
    expected = np.median(np.abs(hedges_g(values[kept], contrast.condition[kept]).estimate))
    assert found.size_without == pytest.approx(expected)
    assert np.median(np.abs(hedges_g(values, contrast.condition).estimate)) < expected


def test_of_a_pair_the_partner_goes_too():
    sequences = [sequence(f"{c}{i}", c, 80 if (c, i) == ("b", 4) else 10, pair=f"p{i}") for i in range(9) for c in "ab"]
    contrast = contrasts_of(study(paired=True), tuple(sequences))[0]
    values = np.random.default_rng(2).normal(size=(18, 4))
    found = outlying_lengths(contrast, sequences, values)
    assert found is not None
    assert (found.identifiers, found.n_units) == (("b4",), 1)
    kept = (
        contrast.pair != contrast.pair[sorted(range(18), key=lambda i: abs(contrast.weights[[i]].toarray()[0, 9]))[-1]]
    )
    expected = hedges_g(values[kept], contrast.condition[kept], pair=contrast.pair[kept]).estimate
    assert kept.sum() == 16
    assert found.size_without == pytest.approx(np.median(np.abs(expected)))


def test_where_too_few_units_are_left_there_is_no_size():
    sequences = [sequence("a1", "a", 10), sequence("a2", "a", 10), sequence("a3", "a", 10)]
    sequences += [sequence("b1", "b", 10, cluster="x"), sequence("b2", "b", 95, cluster="y")]
    sequences += [sequence("b3", "b", 10, cluster="x"), sequence("b4", "b", 10, cluster="x")]
    sequences[:3] = [sequence(f"a{i}", "a", 10, cluster=f"c{i}") for i in range(3)]
    contrast = contrasts_of(study(clustered=True), tuple(sequences))[0]
    found = outlying_lengths(contrast, sequences, np.random.default_rng(3).normal(size=(5, 2)))
    assert found is not None
    assert np.isnan(found.size_without)
