"""The index lists every report with its verdict."""

from __future__ import annotations

import json
from dataclasses import replace

from metastable.heads.record import write_record
from metastable.report.index import write_index
from metastable.report.run.verdict_sentences import verdict_record
from tests.report.fixed_results import fixed_result
from tests.report_folders import report_folder


def test_the_index_lists_the_reports_that_are_there(tmp_path):
    for name, title in (("second", "B | <b>"), ("first", "A")):
        folder = tmp_path / name
        folder.mkdir()
        result = fixed_result("plain")
        verdict = verdict_record(result)
        (folder / "report.md").write_text("# x")
        write_record(replace(result.record, title=title, verdict=verdict), folder / "run.json")
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "run.json").write_text(json.dumps({"title": "C"}))
    text = write_index(tmp_path).read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| [")]
    assert rows[0].startswith("| [A](first/report.md) | Attention differs between concrete and abstract sequences")
    assert rows[1].startswith("| [B \\| \\<b\\>](second/report.md) |")
    assert all(row.endswith("| 3 | 0 | 0 | 3 | fixed\\_model |") for row in rows)
    assert len(rows) == 2


def test_a_neighbour_that_cannot_be_read_is_left_out_and_stops_nobody(tmp_path):
    for name, text in (("damaged", "{"), ("strange", '{"title": "C"}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.md").write_text("# x")
        (tmp_path / name / "run.json").write_text(text)
    report_folder(tmp_path / "whole")
    (tmp_path / "whole" / "report.md").write_text("# x")
    rows = [line for line in write_index(tmp_path).read_text(encoding="utf-8").splitlines() if line.startswith("| [")]
    assert rows == ["| [The study whole](whole/report.md) | So it is. | 1 | 0 | 0 | 1 | tiny |"]
