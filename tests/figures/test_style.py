"""The visual language keeps its promises to readers who see colours differently."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

from metastable.figures.style import (
    BAND_COLORS,
    DIVERGING,
    INK,
    MODE_COLORS,
    SEQUENTIAL,
    color_map,
    format_p,
    ink_on,
    signed,
    text_width,
    wrap,
)

# Machado, Oliveira & Fernandes (2009), severity 1, on linear RGB.
SEEN = {
    "all colours": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "greys": np.tile([0.2126, 0.7152, 0.0722], (3, 1)),
}


def linear(color) -> np.ndarray:
    c = np.array(to_rgb(color))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(color, kind: str) -> np.ndarray:
    """CIELAB (D65) of a colour as a reader with this kind of sight sees it."""
    seen = np.clip(np.asarray(SEEN[kind]) @ linear(color), 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ seen
    f = np.cbrt(np.maximum(xyz / [0.9505, 1.0, 1.089], 0.008856))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(a, b, kind: str) -> float:
    return float(np.linalg.norm(lab(a, kind) - lab(b, kind)))


def contrast(a, b) -> float:
    """Contrast ratio of WCAG 2.2."""
    low, high = sorted(float(np.array([0.2126, 0.7152, 0.0722]) @ linear(color)) for color in (a, b))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("kind", SEEN)
@pytest.mark.parametrize("colors", [tuple(MODE_COLORS.values()), BAND_COLORS], ids=["modes", "bands"])
def test_modes_and_bands_can_be_told_apart(kind, colors):
    for a, b in combinations(colors, 2):
        assert distance(a, b, kind) > 5, (a, b)


@pytest.mark.parametrize("kind", SEEN)
def test_the_sequential_map_darkens_all_the_way(kind):
    lightness = [lab(color, kind)[0] for color in color_map(SEQUENTIAL)(np.linspace(0, 1, 33))]
    assert (np.diff(lightness) < 0).all()


@pytest.mark.parametrize("kind", ["all colours", "protanopia", "deuteranopia", "tritanopia"])
@pytest.mark.parametrize("size", [0.25, 0.5, 1.0])
def test_the_two_directions_can_be_told_apart(kind, size):
    colors = color_map(DIVERGING)
    assert distance(colors(0.5 - size / 2), colors(0.5 + size / 2), kind) > 12


def test_the_diverging_map_is_palest_at_zero():
    lightness = [lab(color, "all colours")[0] for color in color_map(DIVERGING)(np.linspace(0, 1, 33))]
    assert int(np.argmax(lightness)) == 16


@pytest.mark.parametrize("name", [SEQUENTIAL, DIVERGING])
def test_numbers_stand_out_from_every_cell(name):
    for color in color_map(name)(np.linspace(0, 1, 101)):
        assert contrast(color, ink_on(color)) > 4.5


def test_medians_stand_out_from_every_mode_and_band():
    for color in (*MODE_COLORS.values(), *BAND_COLORS):
        assert contrast(color, INK) > 4.5


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.0001, "p < .001"), (0.001, "p = .001"), (0.0456, "p = .046"), (0.9999, "p > .999"), (1.0, "p > .999")],
)
def test_p_is_written_as_apa_asks(p, text):
    assert format_p(p) == text


def test_numbers_have_a_true_minus_and_zero_no_sign():
    assert [signed(v) for v in (1.234, -0.5, -0.001, 0.0)] == ["+1.23", "−0.50", "0.00", "0.00"]


@given(st.text(st.sampled_from("abc XY"), min_size=1, max_size=80), st.floats(0.5, 4))
def test_wrapping_keeps_the_words_and_the_width(text, width):
    lines = wrap(text, width, 9).split("\n")
    assert " ".join(lines) == text
    assert all(text_width(line, 9) <= width or " " not in line for line in lines)


def test_a_name_wider_than_a_line_is_broken_after_its_underscores():
    name = "bert_large_matched_words_study"
    lines = wrap(f"{name}: 3 of 4", 1.2, 9).split("\n")
    assert len(lines) > 1
    assert all(text_width(line, 9) <= 1.2 for line in lines)
    assert "".join(lines[:-1]).replace(" ", "") in f"{name}:3of4"
    assert wrap(name, 9.0, 9) == name
