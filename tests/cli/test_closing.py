"""What a run says at its end."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from metastable.cli.closing import print_summary
from metastable.heads.outlying_lengths import OutlyingLengths
from tests.report.fixed_results import fixed_result


def printed(design: str, width: int, **changed: object) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_summary(fixed_result(design, Path("reports/a[b]c"), **changed), console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [72, 80, 120])
def test_the_summary_fits_and_tells_verdict_heads_largest_and_place(width):
    text = printed("plain", width)
    assert all(len(line) <= width for line in text.splitlines())
    words = " ".join(text.replace("│", " ").split())
    assert "Attention differs between concrete and abstract sequences in fixed_model" in words
    assert "heads: 3 different, 0 negligible, 0 equivalent, 3 undecided (false discovery rate .05)" in words
    rows = [line.split() for line in text.splitlines() if line.endswith(("different", "undecided"))]
    assert [row[:2] for row in rows] == [["2", "3"], ["1", "3"], ["2", "1"]]
    assert "report: reports/a[b]c/report.md\nthe same in one file: reports/a[b]c/report.html" in text


def test_a_slope_is_called_one():
    text = printed("slope", 100)
    assert "slope" in text
    assert "by |d|" in text
    assert "difference" not in text


def test_a_far_longer_sequence_is_told():
    outlying = OutlyingLengths(("row[9]",), (106,), 8, 11, 15, 1, 0.74)
    console = Console(file=io.StringIO(), width=80)
    print_summary(replace(fixed_result("plain", Path("reports")), outlying=outlying), console)
    words = " ".join(console.file.getvalue().split())
    assert "warning: One sequence is far longer than the others: row[9] (106 tokens)" in words
    assert "warning" not in printed("plain", 80)
