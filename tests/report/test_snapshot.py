"""Whole reports on fixed results, word by word, so that a change is seen in review.

A change that is meant is written anew by ``METASTABLE_RENEW=1 python -m pytest tests/report/test_snapshot.py`` and
read in the diff of ``tests/report/expected``.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.report.fixed_results import STUDIES

EXPECTED = Path(__file__).parent / "expected"


@pytest.mark.parametrize("design", STUDIES)
def test_the_report_is_the_one_that_was_reviewed(design, report):
    text = report(design, threshold=(0.9, 0.5) if design == "plain" else (0.9,))
    path = EXPECTED / f"{design}.md"
    if os.environ.get("METASTABLE_RENEW"):
        path.write_text(text, encoding="utf-8")
    assert text.splitlines() == path.read_text(encoding="utf-8").splitlines()
