from __future__ import annotations

import subprocess
import sys
from xml.etree import ElementTree

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from metastable import figures
from metastable.errors import InputError


def test_svg_and_png_appear_and_nothing_else(tmp_path, heads):
    svg, png = figures.save_figure(figures.heatmap(heads(6, 12)), tmp_path / "new" / "figures", "heatmap")
    assert sorted(path.name for path in (tmp_path / "new" / "figures").iterdir()) == ["heatmap.png", "heatmap.svg"]
    assert ElementTree.parse(svg).getroot().tag.endswith("svg")
    assert imread(png).shape[1] == 1660


def test_the_same_figure_gives_the_same_bytes(tmp_path, power):
    figure = figures.sensitivity_curve(power)
    first = [path.read_bytes() for path in figures.save_figure(figure, tmp_path / "a", "x")]
    again = [path.read_bytes() for path in figures.save_figure(figure, tmp_path / "b", "x")]
    drawn_anew = [path.read_bytes() for path in figures.save_figure(figures.sensitivity_curve(power), tmp_path, "x")]
    assert first == again == drawn_anew
    assert b"<dc:date>" not in first[0]
    assert b"matplotlib.org" not in first[1]


def test_the_readers_settings_change_nothing(tmp_path, power):
    plain = [path.read_bytes() for path in figures.save_figure(figures.sensitivity_curve(power), tmp_path, "x")]
    with mpl.rc_context(
        {
            "font.size": 20,
            "xtick.labelsize": 20,
            "axes.facecolor": "black",
            "figure.facecolor": "black",
            "text.color": "red",
            "savefig.bbox": "tight",
            "savefig.transparent": True,
            "svg.fonttype": "none",
        }
    ):
        dark = [path.read_bytes() for path in figures.save_figure(figures.sensitivity_curve(power), tmp_path, "x")]
    assert plain == dark


def test_background_is_opaque_and_light(tmp_path, heads):
    _, png = figures.save_figure(figures.summary_figure(heads(6, 12)), tmp_path, "x")
    pixels = imread(png)
    assert pixels.shape[-1] == 3 or pixels[..., 3].min() == 1
    assert (pixels[0, :, :3] == 1).all()


def test_alt_text_is_in_the_files(tmp_path, heads):
    svg, png = figures.save_figure(figures.heatmap(heads(6, 12)), tmp_path, "x", alt="Six layers & twelve heads.")
    assert "Six layers &amp; twelve heads." in svg.read_text(encoding="utf-8")
    assert b"Six layers & twelve heads." in png.read_bytes()


def test_a_failed_save_leaves_the_old_file_whole(tmp_path, heads):
    class Broken(Figure):
        def savefig(self, fname, **_options):
            with open(fname, "w", encoding="utf-8") as file:  # noqa: PTH123
                file.write("half")
            raise OSError(28, "No space left on device")

    svg, _ = figures.save_figure(figures.heatmap(heads(1, 2)), tmp_path, "x")
    before = svg.read_bytes()
    with pytest.raises(InputError, match="No space left"):
        figures.save_figure(Broken(), tmp_path, "x")
    assert svg.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.png", "x.svg"]


@pytest.mark.parametrize("stem", ["", "a/b", "../x", ".hidden"])
def test_a_stem_that_is_no_file_name_is_refused(stem, tmp_path):
    with pytest.raises(InputError):
        figures.save_figure(Figure(), tmp_path, stem)


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "taken").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="choose a folder"):
        figures.save_figure(Figure(), tmp_path / "taken", "x")


def test_figures_need_no_pyplot_and_show_in_a_notebook():
    code = (
        "import sys, numpy, metastable.figures as f;"
        "figure = f.violin_grid(numpy.ones((1, 2, 5), int));"
        "assert figure._repr_png_().startswith(b'\\x89PNG');"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_settings_of_the_session_are_left_as_they_were(heads):
    with mpl.rc_context({"font.size": 13.0, "axes.facecolor": "#123456"}):
        before = dict(mpl.rcParams)
        figures.heatmap(heads(2, 2))._repr_png_()
        assert dict(mpl.rcParams) == before
