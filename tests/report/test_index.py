"""The index lists every report with its verdict."""

from __future__ import annotations

import json
from dataclasses import replace

from metastable.heads.record import with_files, write_record
from metastable.report.index import write_index
from metastable.report.run.verdict_sentences import verdict_record
from tests.report.fixed_results import fixed_result
from tests.report_folders import report_folder, signed


def test_the_index_lists_the_reports_that_are_there(tmp_path):
    for name, title in (("second", "B | <b>"), ("first", "A")):
        folder = tmp_path / name
        folder.mkdir()
        result = fixed_result("plain")
        verdict = verdict_record(result)
        (folder / "report.md").write_text("# x")
        write_record(with_files(replace(result.record, title=title, verdict=verdict), folder), folder / "run.json")
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "run.json").write_text(json.dumps({"title": "C"}))
    text = write_index(tmp_path).read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| [")]
    assert rows[0].startswith("| [A](first/report.md) | Attention differs between concrete and abstract sequences")
    assert rows[1].startswith("| [B \\| \\<b\\>](second/report.md) |")
    assert all(row.endswith("| 3 | 0 | 0 | 3 | fixed\\_model |") for row in rows)
    assert len(rows) == 2


NEIGHBOURS = {
    "damaged": "{",
    "strange": '{"title": "C"}',
    "nothing": "null",
    "number": "3",
    "list": "[[]]",
    "bytes": "\x00\udcff",
    "deep": "[" * 100_000,
    "long": '{"n_sequences": ' + "9" * 5000 + "}",
    "types": '{"comparison": 3}',
    "sweep": '{"kind": "sweep", "options": []}',
}


def test_a_neighbour_that_cannot_be_read_is_left_out_and_stops_nobody(tmp_path):
    for name, text in NEIGHBOURS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.md").write_text("# x")
        (tmp_path / name / "run.json").write_text(text, errors="surrogateescape")
    report_folder(tmp_path / "whole")
    (tmp_path / "whole" / "report.md").write_text("# x")
    signed(tmp_path / "whole")
    said = []
    text = write_index(tmp_path, said.append).read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| [")]
    assert [sentence.split(": ")[0] for sentence in said] == ["left out of the list of reports"] * len(said)
    assert [name for name in NEIGHBOURS if any(str(tmp_path / name) in sentence for sentence in said)] == [*NEIGHBOURS]
    assert rows == ["| [The study whole](whole/report.md) | So it is. | 1 | 0 | 0 | 1 | tiny |"]


def test_a_mixture_of_two_runs_is_no_report(tmp_path):
    folder = report_folder(tmp_path / "mixed")
    (folder / "report.md").write_text("# of the first")
    signed(folder)
    assert "mixed/report.md" in write_index(tmp_path).read_text()
    (folder / "report.md").write_text("# of the second")
    said = []
    assert "mixed/report.md" not in write_index(tmp_path, said.append).read_text()
    assert len(said) == 1
    assert "mixed holds no report: report.md is not the file that run.json was written with" in said[0]
    assert said[0].endswith("run it again: python -m studies mixed")


def test_what_is_alike_between_the_sides_is_recorded():
    result = fixed_result("clustered")
    smd = result.balance.set_index("covariate")["smd"]
    assert (smd.abs() < 0.1).any()
    assert (smd.abs() >= 0.1).any()
    assert verdict_record(result).alike == tuple(smd.index[smd.abs() < 0.1])
    assert verdict_record(replace(result, balance=result.balance.iloc[:0])).alike == ()
