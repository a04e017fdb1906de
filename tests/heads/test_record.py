"""Records: what was written comes back, and what is damaged is refused in one sentence."""

import json
from pathlib import Path

import pytest

from metastable.errors import InputError
from metastable.heads.record import (
    ComparisonRecord,
    ManyModelsRecord,
    RunRecord,
    SweepRecord,
    read_record,
    record_kind,
    write_record,
)
from tests.report.fixed_results import fixed_result
from tests.report_folders import report_folder

REPORTS = sorted((Path(__file__).parents[2] / "reports").glob("*/run.json"))


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.parent.name)
def test_every_shipped_record_is_read_and_written_as_it_was(path):
    record = read_record(path)
    kinds = {"run": RunRecord, "comparison": ComparisonRecord, "sweep": SweepRecord, "models": ManyModelsRecord}
    assert type(record) is kinds[record_kind(path)]
    found, written = json.loads(path.read_text(encoding="utf-8")), record.to_json()
    # an option that came after the report was written has its default, and is written too
    found["options"] = {**written["options"], **found["options"]}
    assert written == found


def test_a_record_comes_back_equal(tmp_path):
    record = fixed_result("slope", covariates=("characters",)).record
    write_record(record, tmp_path / "run.json")
    assert read_record(tmp_path / "run.json") == record


def test_an_option_that_came_later_has_its_default_and_one_of_the_study_is_its_own(tmp_path):
    options = RunRecord.read(report_folder(tmp_path / "one") / "run.json").options
    assert (options.alpha, options.own) == (0.05, {"k": 20})


def changed(found, keys, value):
    *way, last = keys
    for key in way:
        found = found[key]
    if value is KeyError:
        del found[last]
    else:
        found[last] = value


@pytest.mark.parametrize(
    ("keys", "value", "complaint"),
    [
        (("title",), KeyError, "lacks 'title'"),
        (("model", "dtype"), KeyError, "lacks 'model.dtype'"),
        (("model", "sites", 0, "layers"), "six", "holds 'six' as 'model.sites.0.layers', which is not a whole number"),
        (("model", "sites"), {}, "holds {} as 'model.sites', which is not a list"),
        (("model",), "tiny", "holds 'tiny' as 'model', which is not a table of names and values"),
        (("contrast", "paired"), 1, "holds 1 as 'contrast.paired', which is not true or false"),
        (("options", "alpha"), "0.05", "holds '0.05' as 'options.alpha', which is not a number"),
        (("options", "threshold"), 0.9, "holds 0.9 as 'options.threshold', which is not a list"),
        (("packages",), [], "holds [] as 'packages', which is not a table of names and values"),
        (("verdict", "sentence"), None, "holds None as 'verdict.sentence', which is not a text"),
    ],
)
def test_a_damaged_record_names_the_file_the_key_and_the_remedy(tmp_path, keys, value, complaint):
    path = report_folder(tmp_path / "one") / "run.json"
    found = json.loads(path.read_text())
    changed(found, keys, value)
    path.write_text(json.dumps(found))
    with pytest.raises(InputError) as caught:
        read_record(path)
    assert str(caught.value) == f"{path} {complaint}: another version wrote it; run it again: python -m studies one"


def test_a_sweep_is_told_from_a_run(tmp_path):
    path = tmp_path / "run.json"
    path.write_text('{"kind": "sweep"}')
    with pytest.raises(InputError, match=r"run\.json lacks 'study'"):
        read_record(path)
    assert record_kind(path) == "sweep"
