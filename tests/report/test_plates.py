"""Figures of a report: each has its section and its words, and adding one is one line of the table."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from matplotlib.figure import Figure

from metastable import figures
from metastable.figures.style import alt_of, drawing
from metastable.report.plate import Plate, given, placed_plates, save_plates
from metastable.report.run import plates
from metastable.report.run.page import SECTIONS, render_page
from metastable.report.run.plates import PLATES, run_plates
from metastable.report.run.scene import Scene
from metastable.report.sections import Section, with_plates
from tests.report.fixed_results import STUDIES, fixed_result


@drawing
def number_of_heads(heads: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw nothing."""
    figure = Figure()
    figure.suptitle(f"{title}{len(heads)}")
    return figure


@alt_of(number_of_heads)
def number_of_heads_alt(heads: pd.DataFrame) -> str:
    return f"There are {len(heads)} heads."


NEW = Plate(
    "number", "layers", number_of_heads, lambda scene: given(scene.heads).looking(title="heads: "),
    lambda scene: f"All heads of {scene.measure.name}.",
)  # fmt: skip


def test_every_figure_stands_in_a_section_that_there_is():
    assert {plate.section for plate in PLATES} <= {key for key, _, _ in SECTIONS}
    assert len({key for key, _, _ in SECTIONS}) == len(SECTIONS)
    assert len({plate.stem for plate in PLATES}) == len(PLATES)


def test_every_figure_function_knows_its_alternative_text():
    drawn = [name for name in figures.__all__ if not name.endswith("_alt") and name != "save_figure"]
    assert len(drawn) > 15
    for name in drawn:
        assert getattr(figures, name).alt is getattr(figures, f"{name}_alt")
    assert {plate.drawing.__name__ for plate in PLATES} <= set(drawn)


class NotKnownYet:
    """Fails whatever is asked of it."""

    def refuse(self, *_: object) -> None:
        raise AssertionError("a figure that is drawn early asks for what is not known yet")

    __getattr__ = __getitem__ = __len__ = __iter__ = __bool__ = __contains__ = __eq__ = refuse
    __hash__ = None


LATER = ("beside", "views", "sensitivity", "joint", "claims", "sink_held", "learned_sink", "outlying", "packings")


@pytest.mark.parametrize("design", STUDIES)
def test_figures_that_are_drawn_early_need_nothing_that_is_known_later(design):
    result = fixed_result(design, threshold=(0.9, 0.5))
    early = [plate for plate in run_plates(result) if plate.plate.early]
    unknown = replace(result, **dict.fromkeys(LATER, NotKnownYet()))
    for plate in early:
        now = replace(plate, part=replace(plate.part, result=replace(plate.part.result, result=unknown)))
        assert (now.alt, now.stem) == (plate.alt, plate.stem)
        assert plate.plate.applies(Scene(unknown))
        now.drawing()
    late = {plate.stem for plate in placed_plates(PLATES, Scene(result))} - {plate.stem for plate in early}
    assert {"summary", "heatmap_a", "difference", "significance", "violins"} <= {plate.stem for plate in early}
    assert late <= {"measures", "views", "packings", "sensitivity"}


@pytest.mark.parametrize("design", STUDIES)
def test_every_figure_of_a_report_is_shown_once_with_its_words(design, report):
    text = report(design, threshold=(0.9, 0.5))
    placed = run_plates(fixed_result(design, threshold=(0.9, 0.5)))
    assert len(placed) >= 10
    assert len({plate.stem for plate in placed}) == len(placed)
    for plate in placed:
        assert plate.alt
        assert plate.caption.endswith(".")
        assert text.count(f"](figures/{plate.stem}.png)") == 1
    assert text.count("![") == len(placed)


@pytest.mark.parametrize("design", ["plain", "slope"])
def test_every_figure_of_either_effect_is_drawn(design):
    for plate in run_plates(fixed_result(design, threshold=(0.9, 0.5))):
        assert isinstance(plate.draw(), Figure)


def test_slopes_and_differences_have_the_same_figures_but_for_those_over_the_predictor():
    stems = {name: {plate.stem for plate in run_plates(fixed_result(name))} for name in ("plain", "slope")}
    assert stems["slope"] - stems["plain"] == {"slopes", "slopes_adjusted"}
    assert stems["plain"] - stems["slope"] == {"sensitivity"}


def test_one_line_in_the_table_adds_a_figure_to_the_report(monkeypatch, tmp_path):
    result = fixed_result("plain", tmp_path)
    monkeypatch.setattr(plates, "PLATES", (*PLATES, NEW))
    placed = run_plates(result)
    text = render_page(result, placed)
    layers = text.split("## Layer by layer")[1].split("\n## ")[0]
    assert layers.rstrip().endswith("![There are 6 heads.](figures/number.png)\n\n*All heads of count.*")
    save_plates(placed[-1:], tmp_path, lambda done, total: None)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"number.svg", "number.png"}


def test_a_figure_of_a_section_that_there_is_not_is_named():
    scene = Scene(fixed_result("plain"))
    placed = placed_plates([replace(NEW, section="nowhere")], scene)
    with pytest.raises(ValueError, match="plate 'number' stands in the section 'nowhere'; there are layers"):
        with_plates([Section("layers", "Layer by layer")], placed)


def test_several_sites_have_a_figure_each():
    result = fixed_result("plain")
    heads = result.analysis.heads.assign(site=["self"] * 3 + ["cross"] * 3)
    scene = Scene(replace(result, analyses=(replace(result.analysis, heads=heads),)))
    placed = [plate for plate in placed_plates(PLATES, scene) if plate.plate.stem == "difference"]
    assert [plate.stem for plate in placed] == ["difference_self", "difference_cross"]
    assert placed[1].caption.endswith(" Site: cross.")
    assert "of 3 heads" in placed[1].alt


def test_a_section_without_blocks_and_figures_is_left_out():
    found = with_plates([Section("a", "A"), Section("b", "B", ("text", "")), Section("c", "C", ("",))], [])
    assert found == [Section("b", "B", ("text",))]
