"""What a report cites is in the BibTeX file beside it, and nothing else."""

from __future__ import annotations

import re

import pytest

from metastable.measures import MEASURES
from metastable.report.references import all_references, bibliography, is_cited
from metastable.stats.corrections import CORRECTIONS
from tests.report.fixed_results import STUDIES, every_measure

# "(Bates et al., 2015; Hemerik et al., 2020)", "Ramsauer et al. (2021", "Yekutieli, 2008"
_NARRATIVE = re.compile(r"([A-Z]\w+(?:(?:,| and| &) [A-Z]\w+)*(?: et al\.)?) \((\d{4})")
_PARENTHESIS = re.compile(r"([A-Z]\w+)(?: & [A-Z]\w+| et al\.)?, (\d{4})")


def citations(text: str) -> set[tuple[str, str]]:
    narrative = {(name.split()[0].rstrip(","), year) for name, year in _NARRATIVE.findall(text)}
    return narrative | set(_PARENTHESIS.findall(text))


def methods_of(text: str) -> str:
    return text.split("## Methods\n")[1].split("## Run it again")[0]


VARIANTS = [
    *((design, {}) for design in STUDIES),
    *(("plain", {"correction": name}) for name in CORRECTIONS),
    *(("plain", {"measure": name}) for name in every_measure()),
    ("plain", {"correction": "tsbh", "measure": "effective_number"}),
    ("plain", {"correction": "storey", "covariates": ("zipf",)}),
    ("crossed", {"covariates": ("zipf",)}),
]


@pytest.mark.parametrize(("design", "changed"), VARIANTS)
def test_every_citation_has_one_entry_and_every_entry_is_cited(design, changed, report):
    text = report(design, **changed)
    entries = [re.match(r"@\w+\{(\w+),", one)[1] for one in re.split(r"\n(?=@)", bibliography(text))]
    assert len(set(entries)) == len(entries)
    found = citations(text)
    assert len(methods_of(text).splitlines()) >= 3
    for surname, year in found:
        matching = [key for key in entries if key.startswith(surname.lower()) and year in key]
        assert len(matching) == 1, (surname, year)
    assert len(found) == len(entries)


def test_no_reference_is_cited_by_no_report(report):
    texts = [report(design, **changed) for design, changed in VARIANTS]
    # of TVQA's questions speak the studies whose sources name them, of the others sweeps, comparisons and many models
    elsewhere = {"lei2018tvqa", "good2005permutation", "spearman1904proof", "zou2008confidence"}
    elsewhere |= {"sellam2022multiberts", "owen2007pigeonhole", "paule1982consensus", "higgins2009reevaluation"}
    unused = {key for key, entry in all_references().items() if not any(is_cited(entry, text) for text in texts)}
    assert unused == elsewhere


def test_every_entry_is_whole():
    for key, entry in all_references().items():
        assert {"title", "author", "year"} <= set(re.findall(r"^  (\w+) = \{", entry, re.MULTILINE)), key
        assert entry.count("{") == entry.count("}"), key
    own = [entry for entry in (*MEASURES, *CORRECTIONS.values()) if entry.bibtex]
    assert len(all_references()) == 43 + len(own)


@pytest.mark.parametrize("measure", every_measure())
def test_ramsauer_is_cited_for_every_measure(measure, report):
    assert "ramsauer2021hopfield" in bibliography(report("plain", measure=measure))
