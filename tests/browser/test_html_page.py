"""The page as a file: whole in itself, safe for any word, the table's own numbers, the same each time."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metastable.browser import write_browser
from metastable.browser.data import STATISTICS
from metastable.browser.html_page import json_for_script
from metastable.errors import InputError
from tests.browser.fakes import NASTY, fake_run, of_slopes


class _Page(HTMLParser):
    """Collects the elements, their attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": [], "title": [], "h1": []}
        self._open: str | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag if tag in self.texts else None
        if self._open:
            self.texts[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._open:
            self._open = None

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open][-1] += data

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self.texts["script"][0])


def _write(path: Path, run: dict[str, Any], **options: Any) -> _Page:
    return _Page(write_browser(path / "heads.html", **run, **options).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> _Page:
    run = fake_run({"self": (3, 4)}, thresholds=(0.9, 0.5))
    return _write(tmp_path_factory.mktemp("page"), run, title='</title><script>alert("t")</script>', lead="a & <b>")


def test_nothing_is_fetched(page: _Page) -> None:
    loading = {"src", "srcset", "href", "action", "data", "poster", "background", "formaction", "manifest"}
    for tag, attributes in page.elements:
        assert tag not in {"iframe", "object", "embed", "base", "img", "form" if "action" in attributes else ""}
        for name in loading & set(attributes):
            assert attributes[name] == "data:,", (tag, name)
    code = page.texts["style"][0] + page.texts["script"][1]
    for word in ("url(", "@import", "fetch(", "XMLHttpRequest", "import(", "WebSocket", "innerHTML", "eval("):
        assert word not in code
    assert re.findall(r"https?://[^\"'\s]+", code) == ["http://www.w3.org/2000/svg"]


def test_the_policy_allows_this_script_and_style_alone(page: _Page) -> None:
    (policy,) = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for kind, text in (("script-src", page.texts["script"][1]), ("style-src", page.texts["style"][0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy


def test_words_and_titles_never_become_markup(page: _Page) -> None:
    assert len(page.texts["script"]) == 2
    assert page.texts["h1"] == ['</title><script>alert("t")</script>']
    words = {text for row in page.data["sequences"] for text, _ in row["queries"]}
    assert set(NASTY) <= words


@given(
    st.recursive(
        st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5
    )
)
def test_json_in_a_script_is_the_same_value_without_markup(value: Any) -> None:
    text = json_for_script(value)
    assert json.loads(text) == value
    assert not set(text) & set("<>&\u2028\u2029")


def test_statistics_are_those_of_the_tables(tmp_path: Path) -> None:
    run = fake_run({"self": (2, 3)}, thresholds=(0.9, 0.5))
    heads, details = run["heads"], run["details"]
    values = {
        "mean_a": 12.345, "mean_b": 9.0, "median_a": 12.5, "median_b": 9.0, "difference": -3.345, "ci_low": -4.0,
        "ci_high": 0.126, "hedges_g": 0.314, "p_perm": 0.0001, "p_perm_fdr": 0.0314, "p_perm_fwer": 1.0,
        "lmm_estimate": -3.2, "lmm_se": 0.456, "lmm_dof": 57.34, "lmm_p": 0.5, "lmm_p_fdr": 0.75,
        "bf10": 3.14, "log10_bf10": 0.496929648,
        "p_tost": 0.049, "verdict": "equivalent",
    }  # fmt: skip
    for name, value in values.items():
        heads.loc[7, name] = value
    details.loc[7, ["g_low", "g_high", "superiority", "p_tost_fdr", "lmm_singular"]] = [0.1, 0.5, 0.612, 0.0008, 1.0]
    data = _write(tmp_path, run).data
    table = data["tables"][1]
    assert table["threshold"] == 0.5
    assert dict(zip(STATISTICS, table["texts"][1], strict=True)) == {
        "mean_a": "12.35", "mean_b": "9.00", "median_a": "12.5", "median_b": "9", "estimate": "−3.35",
        "estimate_ci": "[−4.00, 0.13]", "size": "+0.31", "size_ci": "[0.10, 0.50]", "superiority": ".61",
        "p_perm": "< .001", "p_perm_fdr": ".031", "p_perm_fwer": "1.000",
        "lmm": "−3.20 (0.46), 57.3, singular", "lmm_p": ".500", "lmm_p_fdr": ".750", "bf10": "3.1", "p_tost": ".049",
        "p_tost_fdr": "< .001",
    }  # fmt: skip
    assert table["values"]["size"][1] == 0.314
    assert table["verdict"][1] == "equivalent"
    assert data["features"][1] == ["self", 1, 2]


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (
            dict,
            ("difference", "g", "difference concrete − abstract", "Hedges’ g", "more in concrete", "more in abstract"),
        ),
        (of_slopes, ("slope", "d", "slope", "d of the slope", "rising", "falling")),
    ],
    ids=["difference", "slope"],
)
def test_the_page_shows_the_columns_of_either_effect_and_calls_it_by_its_name(
    tmp_path: Path, of: Callable[..., dict[str, Any]], words: tuple[str, ...]
) -> None:
    run = fake_run({"self": (2, 3)})
    data = _write(tmp_path, of(run)).data
    assert tuple(data["effect"][name] for name in ("name", "symbol", "estimate", "size", "plus", "minus")) == words
    assert "".join([*data["effect"]["around_symbol"][:1], words[1], *data["effect"]["around_symbol"][1:]]) == words[3]
    for name, column in (("estimate", "difference"), ("size", "hedges_g")):
        np.testing.assert_allclose(data["tables"][0]["values"][name], run["heads"][column], rtol=1e-3)


def test_missing_numbers_are_dashes_not_nan(tmp_path: Path) -> None:
    run = fake_run({"self": (2, 3)})
    missing = ["lmm_estimate", "lmm_se", "lmm_dof", "lmm_p", "lmm_p_fdr", "bf10", "log10_bf10", "hedges_g"]
    run["heads"].loc[0, missing] = np.nan
    run["details"].loc[0, ["lmm_singular", "g_low", "g_high", "superiority"]] = np.nan
    table = _write(tmp_path, run).data["tables"][0]
    shown = dict(zip(STATISTICS, table["texts"][0], strict=True))
    for name in ("lmm", "lmm_p", "bf10", "size", "size_ci", "superiority"):
        assert shown[name] == "–"
    assert table["values"]["size"][0] is None


def test_histograms_keep_every_token(tmp_path: Path) -> None:
    run = fake_run({"self": (2, 3)}, n_tokens=12)
    run["histograms"] = np.random.default_rng(3).integers(0, 50, (1, 2, 6, 201))
    run["histograms"][..., 0] = 9
    table = _write(tmp_path, run).data["tables"][0]
    assert table["bar"] == 4
    for feature in range(6):
        for side in (0, 1):
            expected = run["histograms"][0, side, feature, 1:].reshape(50, 4).sum(axis=1)
            assert table["bars"][feature][side] == expected.tolist()


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (
        write_browser(tmp_path / name, **fake_run({"a": (2, 3), "b": (1, 4)})).read_bytes() for name in "xy"
    )
    assert first == second


@pytest.mark.parametrize(
    ("layers", "heads", "n_tokens", "n_sequences"), [(24, 16, 20, 1500), (24, 16, 48, 60), (12, 12, 128, 400)]
)
def test_a_large_model_stays_below_three_megabytes(
    tmp_path: Path, layers: int, heads: int, n_tokens: int, n_sequences: int
) -> None:
    run = fake_run({"self": (layers, heads)}, thresholds=(0.9, 0.5, 0.95), n_tokens=n_tokens, n_sequences=n_sequences)
    path = write_browser(tmp_path / "heads.html", **run)
    assert path.stat().st_size < 3_000_000


def test_tables_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    run = fake_run({"self": (2, 3)})
    for name in ("histograms", "unit_means"):
        with pytest.raises(InputError, match=name):
            write_browser(tmp_path / "x.html", **{**run, name: run[name][..., :1, :2]})
    with pytest.raises(InputError, match="table details"):
        write_browser(tmp_path / "x.html", **{**run, "details": run["details"].iloc[:-1]})
    assert list(tmp_path.iterdir()) == []


def test_the_order_of_rows_is_that_of_the_table(tmp_path: Path) -> None:
    run = fake_run({"zeta": (1, 2), "alpha": (2, 1)})
    data = _write(tmp_path, run).data
    assert [site["name"] for site in data["sites"]] == ["zeta", "alpha"]
    expected = run["heads"][["site", "layer", "head"]]
    pd.testing.assert_frame_equal(pd.DataFrame(data["features"], columns=expected.columns), expected, check_dtype=False)
