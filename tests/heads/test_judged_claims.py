"""Claims judged by what they say, on values that a test plants."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from metastable.errors import InputError
from metastable.heads.judged_claims import ClaimedOn, judge_claims
from metastable.stats.analysis import Settings
from metastable.stats.difference import analyse
from metastable.stats.permutations.permutation import permutation_test
from metastable.study import Claim

N_HEADS = 12
FEATURES = pd.DataFrame({"site": "self", "layer": np.repeat([1, 2, 3], 4), "head": np.tile([1, 2, 3, 4], 3)})


def on(shifts, *, n=60, seed=0, measure="count", scale=1.0):
    """Heads whose mean in a lies so many standard deviations above that in b."""
    rng = np.random.default_rng(seed)
    condition = np.arange(2 * n) < n
    values = rng.normal(size=(2 * n, N_HEADS))
    values[condition] += shifts
    values *= scale
    analysis = analyse(
        values,
        condition,
        FEATURES,
        threshold=0.9,
        measure=measure,
        medians=np.zeros((2, N_HEADS)),
        settings=Settings(n_permutations=999, n_resamples=200),
    )

    def directed(direction):
        return permutation_test(
            values,
            condition,
            alternative=direction,
            omnibus={"all": np.ones(N_HEADS, dtype=bool)},
            n_permutations=999,
            rng=1,
        )

    return {"condition": ClaimedOn(measure, analysis, directed)}


def judge(claim, shifts, **given):
    (judged,) = judge_claims([claim], on(np.asarray(shifts, dtype=float), **given), alpha=0.05, margin=0.2)
    return judged


def claim(**given):
    return Claim(measure="count", statement="so it is", **given)


def one(shift):
    return np.r_[shift, np.zeros(N_HEADS - 1)]


def test_a_direction_is_judged_by_a_one_sided_test():
    assert judge(claim(direction="greater"), one(1.0)).outcome == "supported"
    wrong = judge(claim(direction="greater"), one(-1.0))
    assert (wrong.outcome, wrong.test) == ("contradicted", "the same test in the opposite direction")
    assert judge(claim(), one(-1.3)).outcome == "supported"


def test_one_lower_head_and_a_noisy_null_head_do_not_support_greater():
    """Thirty of sixty such data sets did, by a two-sided omnibus test and the sign of a raw mean."""
    noisy = np.where(np.arange(N_HEADS) == 1, 100.0, 1.0)
    outcomes = [judge(claim(direction="greater"), one(-1.0), seed=seed, scale=noisy).outcome for seed in range(40)]
    assert outcomes.count("supported") <= 5  # 2 are expected at most, 6 or more have a chance below 1.5%


def test_most_heads_is_a_claim_about_their_number():
    most = claim(share=0.5)
    assert judge(most, one(3.0)).outcome == "not supported"
    assert judge(most, np.r_[np.full(6, 3.0), np.zeros(6)]).outcome == "not supported"
    assert judge(most, np.r_[np.full(7, 3.0), np.zeros(5)]).outcome == "supported"
    assert "at least 7 of 12 heads" in judge(most, one(3.0)).test
    assert judge(claim(share=0.5, direction="less"), np.full(N_HEADS, 3.0)).outcome == "not supported"


def test_a_smallest_effect_is_tested():
    # 1,500 a group show a shift of 0.06 in many heads, and none of them is as large as 0.2
    small = judge(claim(smallest_effect=0.2), np.full(N_HEADS, 0.06), n=1500)
    assert (small.outcome, small.beside) == ("not supported", "a difference of some size was shown")
    assert judge(claim(), np.full(N_HEADS, 0.06), n=1500).outcome == "supported"
    assert judge(claim(smallest_effect=0.2), one(0.7), n=300).outcome == "supported"
    assert judge(claim(smallest_effect=0.2, direction="less"), one(0.7), n=300).outcome == "not supported"


def test_at_the_smallest_effect_it_is_supported_as_seldom_as_alpha_says():
    outcomes = [
        judge(claim(smallest_effect=0.5), np.full(N_HEADS, 0.5), n=80, seed=seed).outcome == "supported"
        for seed in range(60)
    ]
    assert sum(outcomes) <= 7  # 3 are expected, 8 or more have a chance of 1%


def test_nothing_differs_takes_every_head_to_be_equivalent():
    none = claim(expects_difference=False)
    unsure = judge(none, np.zeros(N_HEADS))
    assert (unsure.outcome, unsure.beside) == ("not supported", "0 of 12 heads are equivalent each by itself")
    assert judge(none, np.zeros(N_HEADS), n=1500).outcome == "supported"
    found = judge(none, one(1.0))
    assert (found.outcome, found.test) == ("contradicted", "omnibus permutation test")


def test_several_claims_are_corrected_together():
    found = on(one(0.62), n=60, seed=3)
    alone = judge_claims([claim()], found, alpha=0.05, margin=0.2)[0]
    four = judge_claims([claim(), claim(share=0.5), claim(smallest_effect=0.4)], found, alpha=0.05, margin=0.2)
    assert alone.p == alone.p_holm == four[0].p
    assert four[0].p_holm == pytest.approx(min(1, 3 * alone.p))


def test_a_claim_about_another_measure_is_not_judged_and_one_without_words_left_out():
    found = on(one(1.0), measure="entropy")
    judged = judge_claims([claim(), Claim()], found, alpha=0.05, margin=0.2)
    assert [(one.outcome, one.p, one.test) for one in judged] == [("not judged", None, "this run compares the entropy")]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"direction": "up"}, "direction 'up'"),
        ({"smallest_effect": -1}, "smallest effect -1"),
        ({"share": 1.0}, "share 1.0"),
        ({"expects_difference": False, "share": 0.5}, "nothing differs has a direction or a share"),
    ],
)
def test_a_claim_that_cannot_be_is_refused(given, words):
    with pytest.raises(InputError, match=words):
        Claim(**given)


def test_over_contexts_a_direction_is_judged_head_by_head():
    found = on(one(-1.3))["condition"]
    over = replace(found, analysis=replace(found.analysis, over_contexts="d ~ 1 + (1 | item)"), directed=None)
    (less,) = judge_claims([claim(direction="less")], {"condition": over}, alpha=0.05, margin=0.2)
    (greater,) = judge_claims([claim(direction="greater")], {"condition": over}, alpha=0.05, margin=0.2)
    assert (less.outcome, greater.outcome) == ("supported", "contradicted")
    p = found.analysis.heads["p_perm"]
    assert less.p == pytest.approx(12 * p[found.analysis.heads["statistic"] < 0].min() / 2)
    assert "at least one of 12 heads, Bonferroni" in less.test
    (any_way,) = judge_claims([claim()], {"condition": over}, alpha=0.05, margin=0.2)
    assert any_way.test == "omnibus test over items and contexts"
