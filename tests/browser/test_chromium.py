"""The page in a real headless Chromium, by pointer and by keyboard."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from metastable.browser import write_browser
from metastable.browser.checked_results import Measured
from metastable.browser.data import STATISTICS
from metastable.report.apa import format_g, format_interval, format_p
from metastable.report.one_file import write_html
from metastable.report.run.page import render_page
from metastable.report.run.plates import run_plates
from tests.browser.fakes import NASTY, fake_run, of_slopes
from tests.report.fixed_results import fixed_result

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_CHROMIUM = next((path for path in map(shutil.which, _NAMES) if path), None)

pytestmark = pytest.mark.skipif(_CHROMIUM is None, reason="no Chromium is installed (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM)
        yield browser
        browser.close()


class _Opened:
    """A page with what it complained of and what it asked for."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        context = {"viewport": {"width": 1400, "height": 1000}} | options
        self.page = browser.new_page(**context)
        self.trouble: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.trouble.append(message.text))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("dialog", lambda dialog: (self.trouble.append("dialog"), dialog.dismiss()))
        self.url = path.as_uri()
        self.open()

    def open(self, fragment: str = "") -> None:
        self.page.goto("about:blank")
        self.requests.clear()
        self.page.goto(self.url + fragment)
        self.settle()

    def settle(self, feature: int | None = None) -> None:
        at = "" if feature is None else f"='{feature}'"
        self.page.wait_for_selector(f"#examples[data-feature{at}]")

    @property
    def focused(self) -> Any:
        return self.page.evaluate("document.activeElement.getAttribute('aria-label')")

    @property
    def title(self) -> str:
        return self.page.inner_text("#head-title")

    def statistic(self, name: str) -> str:
        return self.page.inner_text(f"tr[data-statistic='{name}'] td:last-child")


@pytest.fixture(scope="module")
def run() -> dict[str, Any]:
    return fake_run({"self": (6, 12)}, thresholds=(0.9, 0.5), n_tokens=14)


@pytest.fixture
def opened(chromium: Any, run: dict[str, Any], tmp_path: Path) -> Iterator[_Opened]:
    path = write_browser(tmp_path / "heads.html", **run, title="Words <b>")
    opened = _Opened(chromium, path)
    yield opened
    opened.page.close()
    assert opened.trouble == []
    assert [url.partition("#")[0] for url in opened.requests] == [opened.url]


def _place(run: dict[str, Any], layer: int, head: int) -> int:
    heads = run["heads"]
    return int(heads.index[(heads["layer"] == layer) & (heads["head"] == head)][0])


def test_the_map_has_a_cell_for_each_head_with_layer_1_at_the_bottom(opened: _Opened) -> None:
    page = opened.page
    assert page.locator("[role=gridcell]").count() == 72
    assert page.locator("[role=row]").count() == 7
    top = page.locator("[role=gridcell]").first
    bottom = page.locator("[role=gridcell]").last
    assert top.get_attribute("aria-label").startswith("layer 6, head 1:")
    assert bottom.get_attribute("aria-label").startswith("layer 1, head 12:")
    assert top.bounding_box()["y"] < bottom.bounding_box()["y"]


def test_it_opens_at_the_largest_effect_and_shows_the_tables_numbers(opened: _Opened, run: dict[str, Any]) -> None:
    heads = run["heads"].iloc[:72]
    row = heads.loc[heads["hedges_g"].abs().idxmax()]
    assert opened.title == f"Layer {row['layer']}, head {row['head']}"
    interval = format_interval(row["ci_low"], row["ci_high"])
    assert opened.statistic("estimate") == f"{format_g(row['difference'])} {interval}"
    assert opened.statistic("p_perm_fdr") == format_p(row["p_perm_fdr"])
    sentence = opened.page.inner_text("#sentence")
    for part in (format_g(row["hedges_g"]), interval, format_p(row["p_perm_fdr"])):
        assert part in sentence
    assert row["verdict"] in opened.page.inner_text("#verdict")


def test_every_statistic_of_a_clicked_head_is_shown(opened: _Opened, run: dict[str, Any]) -> None:
    place = _place(run, 3, 7)
    opened.page.click(f"[data-feature='{place}']")
    opened.settle(place)
    assert opened.title == "Layer 3, head 7"
    texts = opened.page.evaluate(f"JSON.parse(document.getElementById('data').textContent).tables[0].texts[{place}]")
    shown = opened.page.inner_text("#statistics")
    assert len(texts) == len(STATISTICS)
    assert all(text in shown for text in texts)
    assert opened.page.evaluate("location.hash") == "#self/3/7"


def test_the_keyboard_reaches_everything(opened: _Opened, run: dict[str, Any]) -> None:
    press = opened.page.keyboard.press
    opened.page.click(f"[data-feature='{_place(run, 2, 2)}']")
    for key, label in (
        ("ArrowRight", "layer 2, head 3"),
        ("ArrowUp", "layer 3, head 3"),
        ("ArrowLeft", "layer 3, head 2"),
        ("ArrowDown", "layer 2, head 2"),
        ("Home", "layer 2, head 1"),
        ("ArrowLeft", "layer 2, head 1"),
        ("End", "layer 2, head 12"),
        ("ControlOrMeta+Home", "layer 6, head 1"),
        ("ArrowUp", "layer 6, head 1"),
        ("ControlOrMeta+End", "layer 1, head 12"),
    ):
        press(key)
        assert opened.focused.startswith(f"{label}:"), key
        assert opened.title.lower() == label
    assert opened.page.locator("[role=gridcell][tabindex='0']").count() == 1
    assert opened.page.locator("[role=gridcell][aria-selected=true]").count() == 1
    opened.settle(_place(run, 1, 12))
    press("Enter")
    assert opened.page.evaluate("document.activeElement.id") == "detail"
    outline = opened.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    for _ in range(10):
        press("Tab")
        if opened.page.evaluate("document.activeElement.classList.contains('token')"):
            break
    assert "k = " in opened.focused
    before = opened.focused
    press("ArrowRight")
    assert opened.page.locator(".token.query").count() == 1
    press("ArrowLeft")
    assert opened.focused == before
    press("Escape")
    assert opened.focused.startswith("layer 1, head 12:")


def test_a_token_shades_its_keys_by_the_models_weights(opened: _Opened, run: dict[str, Any]) -> None:
    place = _place(run, 4, 5)
    opened.page.click(f"[data-feature='{place}']")
    opened.settle(place)
    example = opened.page.locator(".example").nth(2)
    identifier = example.locator("h4").inner_text().split(" · ")[1]
    sequence = next(i for i, s in enumerate(run["sequences"]) if s.identifier == identifier)
    (item,) = run["attention"]({sequence: [("self", 4, 5)]})
    tokens = example.locator("button.token")
    assert tokens.count() == 14
    for query in (0, 6):
        tokens.nth(query).hover()
        shown = [float(tokens.nth(key).locator("small").inner_text() or "nan") for key in range(14)]
        assert shown == pytest.approx(item.weights[query].tolist(), abs=0.0065)
        assert example.locator(".token.inside").count() == item.counts[query, 0]
        assert f"k = {item.counts[query, 0]} of 14" in example.locator(".readout").inner_text()
        shades = [
            float(tokens.nth(key).evaluate("node => node.style.getPropertyValue('--t')").rstrip("%"))
            for key in range(14)
        ]
        assert shades == pytest.approx((90 * item.weights[query] / item.weights[query].max()).tolist(), abs=1)
    opened.page.mouse.move(5, 5)
    assert [tokens.nth(key).locator("small").inner_text() for key in range(14)] == [str(k) for k in item.counts[:, 0]]


def test_pointing_shows_both_distributions_at_once(opened: _Opened, run: dict[str, Any]) -> None:
    place = _place(run, 5, 4)
    assert opened.page.locator("#glance").is_hidden()
    opened.page.hover(f"[data-feature='{place}']")
    glance = opened.page.locator("#glance")
    assert glance.is_visible()
    assert "layer 5, head 4" in glance.inner_text()
    for kind, side in (("bar-a", 0), ("bar-b", 1)):
        assert glance.locator(f".{kind}").count() == (run["histograms"][0, side, place] > 0).sum()
    opened.page.mouse.move(1300, 900)
    assert glance.is_hidden()


def test_bars_are_shares_of_the_tokens(opened: _Opened, run: dict[str, Any]) -> None:
    place = _place(run, 2, 9)
    opened.page.click(f"[data-feature='{place}']")
    titles = opened.page.evaluate(
        "[...document.querySelectorAll('#distribution .bar-b title')].map(n => n.textContent)"
    )
    histogram = run["histograms"][0, 1, place]
    shown = {int(title.split()[2].rstrip(":")): float(title.split()[3].rstrip("%")) for title in titles}
    shares = 100 * histogram / histogram.sum()
    assert shown == pytest.approx({k: shares[k] for k in np.flatnonzero(histogram)}, abs=0.0501)
    assert all(title.endswith("of the tokens of abstract") for title in titles)


def test_thresholds_and_values_can_be_chosen(opened: _Opened, run: dict[str, Any]) -> None:
    page = opened.page
    place = _place(run, 1, 1)
    page.click(f"[data-feature='{place}']")
    page.select_option("#threshold", label="50%")
    second = run["heads"].iloc[72 + place]
    assert opened.statistic("mean_a") == f"{second['mean_a']:.2f}, {second['mean_b']:.2f}"
    for value in ("size", "mean_a", "mean_b", "p_perm_fdr", "verdict", "estimate"):
        page.select_option("#value", value)
        label = page.get_attribute(f"[data-feature='{place}']", "aria-label")
        column = {"size": "hedges_g", "estimate": "difference"}.get(value, value)
        expected = (
            second["verdict"]
            if value == "verdict"
            else (
                format_p(second[column])
                if value.startswith("p_")
                else format_g(second[column], sign="mean" not in value)
            )
        )
        assert expected in label  # fmt: skip


def test_verdicts_show_without_colour(opened: _Opened, run: dict[str, Any]) -> None:
    for verdict in ("different", "equivalent"):
        expected = (run["heads"]["verdict"].iloc[:72] == verdict).sum()
        assert expected > 0
        assert opened.page.locator(f"[role=gridcell].{verdict}").count() == expected
    opened.page.select_option("#value", "verdict")
    heads = run["heads"].iloc[:72]
    signs = {"▲": (heads["difference"] > 0) & (heads["verdict"] == "different"),
             "▼": (heads["difference"] < 0) & (heads["verdict"] == "different"),
             "=": heads["verdict"] == "equivalent"}  # fmt: skip
    cells = opened.page.locator("[role=gridcell]").all_inner_texts()
    for sign, where in signs.items():
        assert cells.count(sign) == where.sum()


def test_words_are_shown_as_they_are(opened: _Opened) -> None:
    assert opened.page.title() == "Words <b> · heads"
    for place in range(72):
        opened.page.evaluate(f"document.querySelector('[data-feature=\"{place}\"]').click()")
        opened.settle(place)
        words = opened.page.locator(".token .text").all_inner_texts()
        if NASTY[0] in words:
            break
    assert NASTY[0] in words


def test_an_address_opens_its_head(opened: _Opened) -> None:
    opened.open("#self/5/11")
    assert opened.title == "Layer 5, head 11"
    opened.open("#nonsense/%E0%A4%A/1")
    assert opened.title.startswith("Layer ")


def test_an_address_as_a_report_writes_it_opens_its_head(chromium: Any, opened: _Opened, tmp_path: Path) -> None:
    opened.open("#layer=5&head=9")
    assert opened.title == "Layer 5, head 9"
    opened.page.evaluate("location.hash = '#layer=2&head=3'")
    opened.page.wait_for_function("document.getElementById('head-title').textContent === 'Layer 2, head 3'")
    opened.open("#layer=77&head=nonsense")
    assert opened.title.startswith("Layer ")
    sites = _Opened(chromium, write_browser(tmp_path / "sites.html", **fake_run({"self": (3, 4), "a b&c": (2, 5)})))
    sites.open("#site=a%20b%26c&layer=2&head=5")
    assert sites.title == "A b&c, layer 2, head 5"
    sites.open("#layer=2&head=5")  # one site alone has as many heads
    assert sites.title == "A b&c, layer 2, head 5"
    sites.page.close()
    assert sites.trouble == []


def test_buttons_walk_by_effect_size(opened: _Opened, run: dict[str, Any]) -> None:
    heads = run["heads"].iloc[:72]
    order = heads["hedges_g"].abs().sort_values(ascending=False, kind="stable").index
    assert opened.page.is_disabled("#previous")
    for place in order[1:4]:
        opened.page.click("#next")
        assert opened.title == f"Layer {heads['layer'][place]}, head {heads['head'][place]}"
    opened.page.click("#previous")
    assert opened.page.inner_text("#rank") == "rank 3 of 72 by |g|"


def test_sites_are_maps_of_their_own(chromium: Any, tmp_path: Path) -> None:
    run = fake_run({"language": (3, 4), "vision": (2, 5)})
    opened = _Opened(chromium, write_browser(tmp_path / "heads.html", **run))
    opened.page.select_option("#site", "vision")
    assert opened.page.locator("[role=gridcell]").count() == 10
    assert opened.title.startswith("Vision, layer")
    opened.page.select_option("#site", "language")
    assert opened.page.locator("[role=gridcell]").count() == 12
    opened.page.close()
    assert opened.trouble == []


def test_rows_are_the_layers_that_have_attention(chromium: Any, tmp_path: Path) -> None:
    run = fake_run({"self": (3, 4)})
    for table in ("heads", "details"):
        run[table]["layer"] *= 4
    opened = _Opened(chromium, write_browser(tmp_path / "heads.html", **run))
    assert opened.page.locator("#grid [role=rowheader]").all_inner_texts()[:3] == ["12", "8", "4"]
    opened.open("#self/8/2")
    assert opened.title == "Layer 8, head 2"
    for key, place in (
        ("ArrowUp", "layer 12, head 2"),
        ("ArrowUp", "layer 12, head 2"),
        ("ArrowDown", "layer 8, head 2"),
        ("ControlOrMeta+End", "layer 4, head 4"),
        ("ArrowDown", "layer 4, head 4"),
        ("ControlOrMeta+Home", "layer 12, head 1"),
    ):
        opened.page.locator("[role=gridcell][tabindex='0']").press(key)
        assert opened.title.lower() == place, key
    opened.page.close()
    assert opened.trouble == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_and_the_page_fits(chromium: Any, tmp_path: Path, scheme: str) -> None:
    run = fake_run({"self": (24, 16)}, n_tokens=12)
    path = write_browser(tmp_path / "heads.html", **run)
    for width in (1400, 390):
        opened = _Opened(chromium, path, color_scheme=scheme, viewport={"width": width, "height": 900})
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        colors = opened.page.evaluate(
            "['--page', '--ink', '--muted', '--a', '--b'].map(n => getComputedStyle(document.body).getPropertyValue(n))"
        )
        page, ink, muted, *conditions = (_luminance(color.strip()) for color in colors)
        assert _contrast(page, ink) > 7
        assert _contrast(page, muted) > 4.5
        assert all(_contrast(page, color) > 3 for color in conditions)
        cell = opened.page.locator("[role=gridcell]").first.bounding_box()
        assert cell["width"] >= 12
        assert cell["height"] >= 12
        opened.page.close()
        assert opened.trouble == []


def _luminance(color: str) -> float:
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


_CELL_CONTRASTS = """() => {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const luminance = (color) => {
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    const linear = [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)].map((byte) => {
      const c = byte / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  return [...document.querySelectorAll("[role=gridcell], .token")].filter((node) => node.innerText).map((node) => {
    const style = getComputedStyle(node);
    const [low, high] = [luminance(style.color), luminance(style.backgroundColor)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_numbers_in_the_cells_stand_out(chromium: Any, tmp_path: Path, run: dict[str, Any], scheme: str) -> None:
    opened = _Opened(chromium, write_browser(tmp_path / "heads.html", **run), color_scheme=scheme)
    for value in ("estimate", "size", "mean_a", "p_perm_fdr", "verdict"):
        opened.page.select_option("#value", value)
        opened.page.locator("button.token").nth(5).hover()
        contrasts = opened.page.evaluate(_CELL_CONTRASTS)
        assert len(contrasts) > 72 if value != "verdict" else contrasts
        assert min(contrasts) > 3.9, value
    opened.page.close()
    assert opened.trouble == []


def test_a_slope_of_another_measure_is_called_what_it_is(chromium: Any, run: dict[str, Any], tmp_path: Path) -> None:
    measured = Measured("special mass", 3, "Special tokens were taken out.")
    opened = _Opened(chromium, write_browser(tmp_path / "heads.html", **of_slopes(run), measured=measured))
    page = opened.page
    assert "special mass" in page.inner_text("#of-counts")
    assert page.inner_text("#verdict").split(": ")[-1] in {"rising", "falling", "undecided", "equivalent"}
    assert "slope = " in page.inner_text("#sentence")
    assert "by |d|" in page.inner_text("#rank")
    assert "mean special mass" in page.inner_text("#examples-note")
    assert page.inner_text("#examples-note").endswith("Special tokens were taken out.")
    assert "rising" in page.inner_text("#scale")
    assert all(not text.startswith(("0.", "+0.", "−0.")) for text in page.locator("#grid .cell").all_inner_texts())
    assert opened.trouble == []


def _report(browser: Any, path: Path, **options: Any) -> tuple[Any, list[str], list[str]]:
    """Open a report; return the page, what it complained of, and what it asked for."""
    page = browser.new_page(**options)
    trouble: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("dialog", lambda dialog: (trouble.append("dialog"), dialog.dismiss()))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    return page, trouble, requests


def _hostile_report(folder: Path) -> Path:
    result = fixed_result("plain")
    plates = run_plates(result)
    (folder / "figures").mkdir()
    for plate in plates:
        Image.new("RGB", (2490, 900), "white").save(folder / "figures" / f"{plate.stem}.png")
    nasty = "</title><script>alert(1)</script><img src=x onerror=alert(1)> [a](javascript:alert(1))"
    study = replace(result.study, title=nasty, question=nasty, caveat=nasty)
    material = replace(result.material, notes=NASTY)
    text = render_page(replace(result, study=study, material=material), plates)
    # what a fault of escaping would let through
    (folder / "report.md").write_text(f"{text}\n\n{nasty}\n\n<script>alert(1)</script>\n", encoding="utf-8")
    return write_html(folder / "report.md")


def test_a_report_in_one_file_runs_nothing_and_asks_for_nothing(chromium: Any, tmp_path: Path) -> None:
    path = _hostile_report(tmp_path)
    page, trouble, requests = _report(chromium, path)
    page.wait_for_timeout(100)
    assert trouble == []
    assert [url for url in requests if not url.startswith("data:")] == [path.as_uri()]
    assert page.title().startswith("</title><script>alert(1)</script><img")
    assert page.locator("main script, main [onerror], a[href^='javascript']").count() == 0
    images = page.evaluate("[...document.images].map((image) => [image.naturalWidth, image.alt.length])")
    assert len(images) > 5
    assert all(width == 2490 and words > 40 for width, words in images)
    page.close()


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1400, "light")])
def test_a_report_in_one_file_fits_its_window_and_folds(chromium: Any, tmp_path: Path, width: int, scheme: str) -> None:
    viewport = {"width": width, "height": 900}
    page, trouble, _ = _report(chromium, _hostile_report(tmp_path), viewport=viewport, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    fold = page.locator("details", has_text="All 6 heads").last
    table = fold.locator("table")
    assert not table.is_visible()
    fold.locator("summary").click()
    assert table.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 23, 26)"
    assert dark == (scheme == "dark")
    page.close()
    assert trouble == []


def test_a_head_of_a_report_opens_in_the_browser_at_that_head(
    chromium: Any, run: dict[str, Any], tmp_path: Path
) -> None:
    write_browser(tmp_path / "heads.html", **run)
    (tmp_path / "report.md").write_text("# A\n\n| layer | head |\n| ---: | ---: |\n| 5 | 9 |\n", encoding="utf-8")
    page, trouble, _ = _report(chromium, write_html(tmp_path / "report.md"))
    page.click("td a")
    page.wait_for_selector("#examples[data-feature]")
    assert page.url.startswith((tmp_path / "heads.html").as_uri())
    assert page.inner_text("#head-title") == "Layer 5, head 9"
    page.close()
    assert trouble == []
