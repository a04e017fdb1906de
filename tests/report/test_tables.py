"""Whatever stands in the tables of measures and corrections is known wherever one is chosen, named or cited."""

import importlib.util
from pathlib import Path

import pytest

from metastable import figures
from metastable.cli.arguments import study_parser
from metastable.measures import MEASURES
from metastable.report.measure_words import measure_words, row_clauses
from metastable.report.references import all_references, bibliography, is_cited
from metastable.stats.corrections import CORRECTIONS
from metastable.stats.simulation.calibrating import CALIBRATED
from metastable.study import Options
from metastable.study.options import COMMON_OPTIONS, parse_option
from tests.report.fixed_results import STUDIES, fixed_result

OPTIONS = {option.name: option for option in COMMON_OPTIONS}
DOCS = Path(__file__).parents[2] / "docs"
every_measure = pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
every_correction = pytest.mark.parametrize("correction", CORRECTIONS.values(), ids=lambda correction: correction.name)


@pytest.fixture(scope="module")
def help_text():
    return " ".join(study_parser(STUDIES["plain"]).format_help().split())


@every_measure
def test_the_command_line_takes_every_measure_and_says_what_it_is(measure, help_text):
    assert parse_option(OPTIONS["measure"], measure.name) == measure.name
    assert f"{measure.name}: {measure.help}" in help_text


@every_measure
def test_the_report_says_what_every_measure_is(measure, report):
    words = measure_words(Options(measure=measure.name))
    text = report("plain", measure=measure.name)
    assert f"the **{measure.called}** is {words.definition}." in text
    assert f"the {measure.called}: {measure.fill(measure.definition)}" in text.split("## Methods\n")[1]
    assert "{" not in words.definition + words.unit


@every_measure
def test_only_what_counts_of_the_row_is_changed(measure):
    asked = Options(measure=measure.name, keys="words", unit="words")
    assert bool(row_clauses(asked)[1]) != measure.whole_row


@every_measure
def test_figures_call_every_measure_by_its_name(measure):
    heads = fixed_result("plain").analysis.heads.assign(measure=measure.name)
    options = {"measure": measure.name, "conditions": ("concrete", "abstract")}
    assert f"mean {measure.called} for concrete" in figures.heatmap_alt(heads, "mean_a", **options)
    axes = figures.heatmap(heads, "mean_a", **options).axes
    label = measure.fill(measure.label, share="90%") or measure.called
    assert f"mean {label}" in {text for one in axes for text in (one.get_xlabel(), one.get_ylabel(), one.get_title())}


@pytest.mark.parametrize("entry", [*MEASURES, *CORRECTIONS.values()], ids=lambda entry: entry.name)
def test_what_an_entry_cites_is_one_paper_of_the_references(entry):
    cited = entry.cited if hasattr(entry, "cited") else entry.called
    if cited:
        papers = [key for key, paper in all_references().items() if is_cited(paper, cited)]
        assert len(papers) == 1


@every_correction
def test_the_command_line_takes_the_corrections_for_heads(correction, help_text):
    assert (correction.name in OPTIONS["correction"].choices) == correction.for_heads
    assert (f"{correction.name}: {correction.help}" in help_text) == correction.for_heads


@every_correction
@pytest.mark.parametrize("design", ["plain", "slope"])
def test_the_methods_name_every_correction_and_what_it_holds(correction, design, report):
    text = report(design, correction=correction.name)
    held = f"The {correction.rate} was held at .05 over the heads of a site"
    assert f"{held} by the method of {correction.called}" in text.split("## Methods\n")[1]
    (paper,) = (key for key, entry in all_references().items() if is_cited(entry, correction.called))
    assert paper in bibliography(text)


@every_correction
def test_calibration_covers_what_can_be_chosen(correction):
    assert (correction.name in CALIBRATED) == correction.calibrated
    assert correction.calibrated or not correction.for_heads


def test_the_page_of_the_tables_is_as_they_are():
    specification = importlib.util.spec_from_file_location("write_tables", DOCS / "write_tables.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    text = module.PAGE.read_text(encoding="utf-8")
    assert text == module.page(), "run python docs/write_tables.py"
    shown = module.VALIDATION.read_text(encoding="utf-8")
    assert shown == module.validation(shown), "run python docs/write_tables.py"
    assert "0 of 72" in shown
    for name in (*(measure.name for measure in MEASURES), *CORRECTIONS):
        assert f"| `{name}` |" in text
