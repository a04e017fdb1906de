from __future__ import annotations

import numpy as np
import pytest

from metastable.errors import InputError
from metastable.stats.verdict import verdicts


def test_difference_takes_precedence():
    p = np.array([0.001, 0.001, 0.5, 0.5, 0.05])
    p_tost = np.array([0.5, 0.001, 0.001, 0.5, 0.05])
    assert verdicts(p, p_tost, 0.05).tolist() == [
        "different", "different", "equivalent", "undecided", "undecided",
    ]  # fmt: skip


def test_alpha_moves_the_line():
    assert verdicts([0.02], [0.02], 0.05).tolist() == ["different"]
    assert verdicts([0.02], [0.005], 0.01).tolist() == ["equivalent"]


@pytest.mark.parametrize(
    ("p", "p_tost", "alpha", "message"),
    [
        ([np.nan], [0.1], 0.05, "p_fdr has values"),
        ([0.1], [1.2], 0.05, "p_tost_fdr has values"),
        ([0.1, 0.2], [0.1], 0.05, "shape"),
        ([0.1, -0.5, 0.2], [0.1, 0.1, 0.1], 0.05, "p_fdr has values"),
        ([0.1, 0.2], [0.1, np.nan], 0.05, "p_tost_fdr has values"),
        ([0.1], [0.1], 1.0, "alpha is 1"),
        ([0.1], [0.1], 0.0, "alpha is 0"),
    ],
)
def test_bad_input_is_told(p, p_tost, alpha, message):
    with pytest.raises(InputError, match=message):
        verdicts(p, p_tost, alpha)


def test_a_difference_whose_interval_lies_within_the_margin_is_negligible():
    found = verdicts([0.01, 0.01, 0.6, 0.6], [0.01, 0.5, 0.01, 0.5], within=[True, False, True, True])
    assert found.tolist() == ["negligible", "different", "equivalent", "undecided"]
    with pytest.raises(InputError, match="within"):
        verdicts([0.01], [0.5], within=[True, False])
