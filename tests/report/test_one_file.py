"""A report in one file: all of the page, its figures in it, nothing that runs, nothing that is fetched."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metastable.report.markdown import as_text
from metastable.report.one_file import heading_id, render_html, write_html
from metastable.report.run.page import render_page
from metastable.report.run.plates import run_plates
from tests.browser.fakes import NASTY
from tests.report.fixed_results import STUDIES, fixed_result

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
ALLOWED = {
    "html", "head", "meta", "link", "title", "style", "body", "main", "nav", "details", "summary", "ol", "ul", "li",
    "a", "h1", "h2", "h3", "p", "strong", "em", "code", "pre", "blockquote", "img", "div", "table", "thead", "tbody",
    "tr", "th", "td", "s", "hr", "br",
}  # fmt: skip


class Page(HTMLParser):
    """The tags of a page with their attributes, the open ones, and the words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "img", "br", "hr"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def require_inert(text: str) -> Page:
    """See that a page holds the tags of a report alone, each closed, and that nothing in it runs or is fetched."""
    page = Page(text)
    assert page.open == []
    assert {tag for tag, _ in page.tags} <= ALLOWED
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        assert "src" not in attributes or (tag == "img" and attributes["src"].startswith("data:image/"))
        if tag == "link":
            assert attributes == {"rel": "icon", "href": "data:,"}
        scheme = re.match(r"\s*([A-Za-z][\w+.-]*):", attributes.get("href", ""))
        assert scheme is None or scheme[1] in {"https", "data"}
    policy = page.all("meta")[1]["content"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "script" not in policy
    return page


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "figures").mkdir()
    return tmp_path


def written(folder: Path, design: str) -> str:
    """Return a fixed report, its figures a pixel each."""
    result = fixed_result(design)
    plates = run_plates(result)
    for plate in plates:
        (folder / "figures" / f"{plate.stem}.png").write_bytes(PNG)
    return render_page(result, plates)


@pytest.mark.parametrize("design", STUDIES)
def test_all_of_the_page_is_in_the_file(design, folder):
    text = written(folder, design)
    page = require_inert(render_html(text, folder))
    shown = re.findall(r"^!\[", text, re.MULTILINE)
    images = page.all("img")
    assert len(images) == len(shown) > 5
    assert all(image["src"] == f"data:image/png;base64,{base64.b64encode(PNG).decode()}" for image in images)
    assert all(len(image["alt"]) > 40 for image in images)
    assert len(page.all("table")) == len(re.findall(r"^\| *:?-", text, re.MULTILINE))
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    anchors = {attributes["id"] for tag, attributes in page.tags if tag in {"h1", "h2", "h3"}}
    assert {heading_id(heading) for heading in headings} < anchors
    # the folds of the page, and that of its sections
    assert len(page.all("details")) == text.count("<details>") + 1
    for href in (attributes["href"] for attributes in page.all("a")):
        assert not href.startswith("#") or href[1:] in anchors
    last = text.rstrip().splitlines()[-1].lstrip("- ").replace("*", "")
    assert last[:40] in page.words


def test_the_same_page_gives_the_same_file(folder):
    text = written(folder, "plain")
    (folder / "report.md").write_text(text, encoding="utf-8")
    path = write_html(folder / "report.md")
    assert path == folder / "report.html"
    assert path.read_text(encoding="utf-8") == render_html(text, folder) == render_html(text, folder)


HOSTILE = [
    *NASTY,
    "<img src=x onerror=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "[a](javascript:alert(1))",
    "![a](https://example.org/a.png)",
    "<https://example.org>",
    "</details>",
    "</main></body>",
    "<style>*{display:none}</style>",
    "&lt;script&gt;",
]


@pytest.mark.parametrize("nasty", HOSTILE)
def test_texts_of_users_are_inert(nasty, folder):
    result = fixed_result("plain")
    study = replace(result.study, title=nasty, question=nasty, caveat=nasty)
    contrast = replace(
        result.contrast, a=replace(result.contrast.a, name=nasty), b=replace(result.contrast.b, description=nasty)
    )
    material = replace(result.material, notes=(nasty,))
    text = render_page(replace(result, study=study, contrasts=(contrast,), material=material), [])
    page = require_inert(render_html(text, folder))
    assert page.words.count(" ".join(nasty.split())) >= 4
    assert page.all("img") == []
    # a fold of the page is one, that of a text is none
    assert len(page.all("details")) == len(re.findall(r"^<details>$", text, re.MULTILINE)) + 1


@pytest.mark.parametrize("nasty", HOSTILE)
def test_markup_that_came_in_unescaped_is_inert_too(nasty, folder):
    page = require_inert(render_html(f"# A\n\n{nasty}\n\n```\n{nasty}\n```\n\n| a |\n| --- |\n| {nasty} |\n", folder))
    assert page.all("img") == []


@given(st.text(alphabet="<>details/summary \n`|#*[]()!\"'&=-_\\layerhead 19,", max_size=80))
def test_any_text_gives_a_whole_and_inert_page(text):
    folder = Path(__file__).parent
    require_inert(render_html(text, folder))
    page = require_inert(render_html(f"<details>\n<summary>a</summary>\n\n{as_text(text)}\n\n</details>\n", folder))
    assert len(page.all("details")) == 1


def test_folds_hold_what_they_held(folder):
    text = (
        "# A\n\n<details>\n<summary>All 2 *heads* &lt;b&gt;</summary>\n\n| a |\n| --- |\n| 1 |\n</details>\n\nafter\n"
    )
    html = render_html(text, folder)
    assert "<summary>All 2 *heads* &lt;b&gt;</summary>" in html
    assert html.index("<details>") < html.index("<table>") < html.index("</details>") < html.index("<p>after</p>")
    left_open = require_inert(render_html("# A\n\n<details>\n<summary>a</summary>\n\nb", folder))
    assert len(left_open.all("details")) == 1
    assert len(require_inert(render_html("# A\n\n</details>\n", folder)).all("details")) == 0


def test_headings_of_the_same_words_have_anchors_of_their_own(folder):
    page = Page(render_html("# Ü?\n\n## One, two\n\n## One, two\n\n## !\n", folder))
    names = [attributes["id"] for tag, attributes in page.tags if tag in {"h1", "h2"}]
    assert names == ["%C3%BC", "one-two", "one-two-1", "section"]
    assert {f"#{name}" for name in names} == {link["href"] for link in page.all("a")}


def test_links_lead_to_pages_of_one_file_where_they_are(tmp_path):
    home = tmp_path / "reports" / "mine"
    staged = home / ".run-new-1"
    staged.mkdir(parents=True)
    (tmp_path / "reports" / "a b").mkdir()
    (tmp_path / "reports" / "a b" / "report.html").write_text("")
    text = "[x](../a%20b/report.md#heads) [y](../old/report.md) [z](heads.csv) [w](https://example.org/a.md)"
    links = [link["href"] for link in Page(render_html(text, staged, home)).all("a")]
    assert links == ["../a%20b/report.html#heads", "../old/report.md", "heads.csv", "https://example.org/a.md"]


def test_figures_from_elsewhere_are_not_read(tmp_path):
    (tmp_path / "secret.png").write_bytes(PNG)
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "here.png").write_bytes(PNG)
    (folder / "notes.txt").write_text("secret")
    shown = (
        "![out](../secret.png) ![gone](gone.png) ![kind](notes.txt) ![net](https://example.org/a.png) ![in](here.png)"
    )
    page = require_inert(render_html(shown, folder))
    assert [image["alt"] for image in page.all("img")] == ["in"]
    assert "out gone kind net" in page.words


TABLE = "| layer | head | *g* |\n| ---: | ---: | ---: |\n| 5 | 9 | −3.77 |\n| 1 | 2 | 0.10 |\n"


def to_browser(html: str) -> list[str]:
    return [link["href"] for link in Page(html).all("a") if link["href"].startswith("heads.html#")]


def test_a_head_of_the_report_leads_to_itself_in_the_browser(folder):
    text = f"# A\n\nThe largest is in layer 5, head 9; see [layer 1, head 1](x.md).\n\n{TABLE}"
    assert to_browser(render_html(text, folder)) == []
    (folder / "heads.html").write_text("")
    html = render_html(text, folder)
    assert to_browser(html) == [
        "heads.html#layer=5&head=9", "heads.html#layer=5&head=9", "heads.html#layer=1&head=2",
    ]  # fmt: skip
    assert ">layer 5, head 9</a>" in html
    sites = TABLE.replace("| layer", "| site | layer").replace("| ---: |", "| --- | ---: |", 1)
    sites = sites.replace("| 5", "| a b&c | 5").replace("| 1 ", "| self | 1 ")
    html = render_html(f"In layer 5, head 9.\n\n{sites}", folder)
    # of several sites a sentence does not say which
    assert to_browser(html) == ["heads.html#site=a%20b%26c&layer=5&head=9", "heads.html#site=self&layer=1&head=2"]


def test_every_head_of_a_runs_tables_has_its_link(folder):
    text = written(folder, "plain")
    (folder / "heads.html").write_text("")
    found = to_browser(render_html(text, folder))
    every = {f"heads.html#layer={layer}&head={head}" for layer in (1, 2) for head in (1, 2, 3)}
    assert every == set(found)
