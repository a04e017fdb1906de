"""A report names the covariates that its adjustment leaves out, with the reason."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from metastable.report.run.left_out import left_out_sentences
from metastable.report.words import covariate_name

CROSSING = SimpleNamespace(item_name="word pair", context_name="carrier", either="word pair or carrier")


@pytest.mark.parametrize(
    ("determined", "single", "over", "expected"),
    [
        ((), (), "", ""),
        (("tokens",), (), "", " Left out, since the others determine it: tokens per sequence."),
        ((), ("odd", "zipf"), "", " Left out, since a single answer would decide its coefficient: odd and Zipf frequency."),  # noqa: E501
        ((), ("odd",), "y ~ 1", " Left out, since a single word pair or carrier would decide its coefficient: odd."),
        (
            ("tokens",),
            ("odd",),
            "",
            " Left out, since the others determine it: tokens per sequence."
            " Left out, since a single answer would decide its coefficient: odd.",
        ),
    ],
)  # fmt: skip
def test_each_reason_has_its_sentence(determined, single, over, expected):
    found = SimpleNamespace(determined=determined, single=single, over_contexts=over)
    scene = SimpleNamespace(analysis=found, contrast=SimpleNamespace(unit="answer", crossing=CROSSING))
    assert left_out_sentences(scene, covariate_name) == expected
