"""The index lists every report with its verdict."""

from __future__ import annotations

import json

from metastable.report.index import write_index
from metastable.report.run.verdict_sentences import verdict_record
from tests.report.fixed_results import fixed_result


def test_the_index_lists_the_reports_that_are_there(tmp_path):
    for name, title in (("second", "B | <b>"), ("first", "A")):
        folder = tmp_path / name
        folder.mkdir()
        result = fixed_result("plain")
        verdict = verdict_record(result)
        (folder / "report.md").write_text("# x")
        (folder / "run.json").write_text(json.dumps({**result.recipe, "title": title, "verdict": verdict}))
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "run.json").write_text(json.dumps({"title": "C"}))
    text = write_index(tmp_path).read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| [")]
    assert rows[0].startswith("| [A](first/report.md) | Attention differs between concrete and abstract sequences")
    assert rows[1].startswith("| [B \\| \\<b\\>](second/report.md) |")
    assert all(row.endswith("| 3 | 0 | 3 | fixed\\_model |") for row in rows)
    assert len(rows) == 2
