"""Measures of the table and of installed packages are found by their names, and a broken one stops nobody."""

import sys
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from metastable.cli import main
from metastable.errors import InputError
from metastable.extraction import extract, load_counts
from metastable.extraction.summarizing import check_row_options
from metastable.measures import COUNT, MEASURE_CHOICES, MEASURES, call_measure, known_measures, measure_named
from metastable.measures import lookup as lookup_module
from metastable.measures.lookup import ENTRY_POINT_GROUP
from metastable.models.encoders import wrap_model
from metastable.report.references import all_references
from metastable.study.options import COMMON_OPTIONS, parse_option
from tests.extraction.oracle import plain_attention, text_sequences
from tests.extraction.tiny_models import tiny_model

MODULE = '''
from metastable.measures import Measure

LAST = Measure(
    name="last_mass",
    of_rows=lambda rows: rows.kept[..., -1],
    called="mass of the last key",
    definition="the share of the attention that goes to the last {one}",
    help="share of the attention on the last key",
    cited="Nobody, 1901",
    bibtex="""
@book{nobody1901last,
  title = {The last key},
  author = {Nobody, N.},
  year = {1901},
}
""",
)
PORTION = Measure(
    name="portion",
    of_rows=lambda rows: rows.count(rows.kept) / rows.kept.shape[-1],
    called="portion",
    definition="the count to {share} over the {unit} of the row",
    help="count over keys",
    of_threshold=True,
)
TWIN = Measure(name="count", of_rows=lambda rows: rows.kept, called="count", definition="another", help="another")
NO_MEASURE = "last_mass"
'''


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """An installed package with two measures, one of a name that is taken, one object that is none, and a ghost."""
    (tmp_path / "my_rows.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    places = {
        "last": "my_rows:LAST", "portion": "my_rows:PORTION", "twin": "my_rows:TWIN", "text": "my_rows:NO_MEASURE",
        "ghost": "no_such_module_anywhere:LAST",
    }  # fmt: skip
    points = [EntryPoint(name, place, ENTRY_POINT_GROUP) for name, place in places.items()]
    monkeypatch.setattr(lookup_module, "entry_points", lambda group: points)
    known_measures.cache_clear()
    all_references.cache_clear()
    yield
    known_measures.cache_clear()
    all_references.cache_clear()
    del sys.modules["my_rows"]


def test_measures_of_installed_packages_stand_after_those_of_the_table(installed):
    assert list(known_measures().measures) == [*(measure.name for measure in MEASURES), "last_mass", "portion"]
    assert measure_named("count") is COUNT
    assert check_row_options(measures=("portion", "last_mass", "entropy")).measures == (
        "entropy",
        "last_mass",
        "portion",
    )


def test_a_broken_measure_stops_nobody_and_is_told_to_who_asks(installed, capsys):
    problems = known_measures().problems
    assert set(problems) == {"twin", "text", "ghost"}
    assert problems["twin"] == "two measures are called 'count'; rename that of my_rows:TWIN"
    assert "is not a Measure; let it name one" in problems["text"]
    (option,) = (option for option in COMMON_OPTIONS if option.name == "measure")
    with pytest.raises(InputError, match="measure 'ghost' cannot be used: ModuleNotFoundError"):
        parse_option(option, "ghost")
    with pytest.raises(InputError, match=r"--measure kurtosis: choose one of auto, count, .*last_mass"):
        parse_option(option, "kurtosis")
    assert main(["list"]) == 0
    assert "measure twin cannot be used: two measures are called 'count'" in " ".join(capsys.readouterr().out.split())


def test_a_measure_of_a_package_is_in_the_help_and_in_the_references(installed):
    assert MEASURE_CHOICES["last_mass"] == "share of the attention on the last key"
    assert "nobody1901last" in all_references()


def test_a_measure_of_a_package_is_extracted_and_described(installed, tmp_path):
    model, sequences = tiny_model("bert"), text_sequences([4, 7])
    extract(
        wrap_model(model), sequences, path=tmp_path / "c.zarr", thresholds=(0.5, 0.9), measures=["last_mass", "portion"]
    )
    cube = load_counts(tmp_path / "c.zarr")
    assert cube["portion"].dims == ("sequence", "site", "layer", "head", "threshold", "token")
    assert cube["last_mass"].dims == ("sequence", "site", "layer", "head", "token")
    assert cube["last_mass"].attrs["long_name"] == "mass of the last key"
    assert cube["last_mass"].attrs["description"].endswith("goes to the last token")
    # the longer of the two fills its rows
    longest = int(np.argmax([len(sequence.token_ids) for sequence in sequences]))
    n = len(sequences[longest].token_ids)
    expected = np.stack(plain_attention(model, sequences[longest], {})["self"])[..., -1]
    np.testing.assert_allclose(cube["last_mass"][longest, 0].to_numpy()[..., :n], expected, atol=1e-5)
    np.testing.assert_allclose(cube["portion"][longest, 0] * n, cube["count"][longest, 0], atol=1e-5)


def test_entry_points_are_read_only_when_the_table_is_asked_for(monkeypatch):
    asked = []
    monkeypatch.setattr(lookup_module, "entry_points", lambda group: asked.append(group) or [])
    known_measures.cache_clear()
    assert not asked
    assert "entropy" in MEASURE_CHOICES
    assert asked == [ENTRY_POINT_GROUP]
    assert len(MEASURE_CHOICES) == len(MEASURES)
    assert asked == [ENTRY_POINT_GROUP]


def test_an_unknown_measure_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="measure 'entropie' is unknown; did you mean 'entropy'"):
        measure_named("entropie")
    assert call_measure("of_another_package") == "of another package"
