"""A report in one HTML file: its Markdown page with the figures in it, which needs no other file and no network."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import string
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import jinja2
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_block import StateBlock
from markdown_it.token import Token
from markupsafe import Markup

from metastable.files import write_text

__all__ = ["BROWSER", "heading_id", "render_html", "source_hash", "write_html"]

BROWSER = "heads.html"
"""The head browser that stands beside a run's report."""

_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}
_SUMMARY = re.compile(r"<summary>(.*)</summary>")
_PLACE = re.compile(r"\blayer[ \u00a0](\d+),?[ \u00a0]head[ \u00a0](\d+)\b", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|//|/|#")
_ALIGNMENT = re.compile(r"text-align:(left|right|center)")


def source_hash(text: str) -> str:
    """Return how a content security policy names a style or a script that stands in the page.

    Examples
    --------
    >>> source_hash("")
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
    """
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii") + "'"


def heading_id(text: str) -> str:
    """Return the anchor of a heading, as GitHub makes it.

    Examples
    --------
    >>> heading_id("Is the comparison fair?")
    'is-the-comparison-fair'
    """
    kept = "".join(letter for letter in text.lower() if letter.isalnum() or letter in " -_")
    return kept.strip().replace(" ", "-")


# ---- folds: the one markup of a page that is not Markdown ------------------------------------------------------------


def _fold(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read the two lines that begin a fold, or the one that ends it; any other HTML is text."""
    lines = (state.getLines(line, line + 1, 0, False).strip() for line in range(start, min(start + 2, end)))
    first, second = next(lines), next(lines, "")
    open_folds: int = state.env.get("folds", 0)
    summary = _SUMMARY.fullmatch(second)
    if first == "<details>" and summary is not None:
        if silent:
            return True
        state.env["folds"] = open_folds + 1
        state.push("fold_open", "details", 1)
        state.push("fold_title_open", "summary", 1)
        title = state.push("inline", "", 0)
        title.content, title.children, title.map = (
            _plain_markdown(html.unescape(summary[1])),
            [],
            [start + 1, start + 2],
        )
        state.push("fold_title_close", "summary", -1)
        state.line = start + 2
        return True
    if first == "</details>" and open_folds:
        if not silent:
            state.env["folds"] = open_folds - 1
            state.push("fold_close", "details", -1)
            state.line = start + 1
        return True
    return False


def _plain_markdown(text: str) -> str:
    """Escape every mark, so that the words of a fold are read as text."""
    return text.translate({ord(mark): f"\\{mark}" for mark in string.punctuation})


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    parser.block.ruler.before("paragraph", "fold", _fold, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    parser.add_render_rule("table_open", _table_open)
    parser.add_render_rule("table_close", _table_close)
    parser.add_render_rule("heading_close", _heading_close)
    return parser


def _table_open(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    table = renderer.renderToken(tokens, index, options, env)
    return f'<div class="scroll" role="region" aria-label="table" tabindex="0">{table}'


def _table_close(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return renderer.renderToken(tokens, index, options, env) + "</div>\n"


def _heading_close(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    name = tokens[index - 2].attrGet("id")
    link = f' <a class="anchor" href="#{name}" aria-label="link to this section">#</a>'
    return link + renderer.renderToken(tokens, index, options, env)


# ---- what is changed between reading and writing ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Heading:
    tag: str
    text: str
    name: str


def _words(token: Token) -> str:
    """Return the text of an inline token without its marks."""
    shown = {"text", "text_special", "code_inline"}
    return "".join(child.content for child in token.children or () if child.type in shown)


def _name_headings(tokens: Sequence[Token]) -> list[_Heading]:
    """Give every heading its anchor, no two the same."""
    found: list[_Heading] = []
    taken: set[str] = set()
    for token, inside in pairwise(tokens):
        if token.type != "heading_open":
            continue
        text = _words(inside)
        first = name = quote(heading_id(text)) or "section"
        number = 0
        while name in taken:
            number += 1
            name = f"{first}-{number}"
        taken.add(name)
        token.attrSet("id", name)
        found.append(_Heading(token.tag, text, name))
    return found


def _class_alignments(tokens: Sequence[Token]) -> None:
    """Say the alignment of cells by classes: the page's policy allows no style but its own sheet."""
    for token in tokens:
        aligned = _ALIGNMENT.fullmatch(str(token.attrs.get("style", "")))
        if aligned is not None:
            del token.attrs["style"]
            token.attrSet("class", aligned[1])


def _embedded(source: str, folder: Path) -> str | None:
    """Return a figure below the folder as a data URI; None if there is none of that name."""
    path = folder / unquote(source)
    kind = _TYPES.get(path.suffix)
    if _SCHEME.match(source) or kind is None or not path.resolve().is_relative_to(folder.resolve()):
        return None
    if not path.is_file():
        return None
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _address(target: str, folder: Path, home: Path) -> str:
    """Return where a link leads: to the page of a report in one file, where that stands beside its Markdown."""
    path, mark, fragment = target.partition("#")
    if _SCHEME.match(target) or not path.endswith(".md"):
        return target
    other = f"{path[: -len('.md')]}.html"
    there = any((where / unquote(other)).is_file() for where in (folder, home))
    return f"{other}{mark}{fragment}" if there else target


def _changed(children: Sequence[Token], folder: Path, home: Path) -> Iterator[Token]:
    """Put figures into the page, and lead links to pages of one file."""
    for child in children:
        if child.type == "link_open":
            child.attrSet("href", _address(str(child.attrGet("href")), folder, home))
        if child.type == "image":
            data = _embedded(str(child.attrGet("src")), folder)
            if data is None:  # a page that fetched it would not be one file: its words stand in its place
                yield Token("text", "", 0, content=_words(child))
                continue
            child.attrSet("src", data)
        yield child


def _linked(content: Sequence[Token], address: str) -> Iterator[Token]:
    yield Token("link_open", "a", 1, attrs={"href": address})
    yield from content
    yield Token("link_close", "a", -1)


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


def _to_head(layer: str, head: str, site: str | None = None) -> str:
    """Return the address of a head in the browser."""
    at = "" if site is None else f"site={quote(site, safe='')}&"
    return f"{BROWSER}#{at}layer={layer}&head={head}"


def _heads_in_prose(children: Sequence[Token]) -> Iterator[Token]:
    """Lead "layer 5, head 9" to that head; what is in a link already stays as it is."""
    inside = 0
    for child in children:
        inside += (child.type == "link_open") - (child.type == "link_close")
        if child.type != "text" or inside:
            yield child
            continue
        end = 0
        for match in _PLACE.finditer(child.content):
            yield _text(child.content[end : match.start()])
            yield from _linked([_text(match[0])], _to_head(*match.groups()))
            end = match.end()
        yield _text(child.content[end:])


def _rows(tokens: Sequence[Token]) -> Iterator[list[list[Token]]]:
    """Give every table as the inline tokens of its rows, the header first."""
    rows: list[list[Token]] = []
    for token, inside in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "table_open":
            rows = []
        elif token.type == "tr_open":
            rows.append([])
        elif token.type in {"th_open", "td_open"} and inside is not None:
            rows[-1].append(inside)
        elif token.type == "table_close":
            yield rows


def _link_heads(tokens: Sequence[Token]) -> None:
    """Lead every head that is named in a table or a sentence to that head in the browser."""
    several = False
    for header, *rows in _rows(tokens):
        names = [_words(cell) for cell in header]
        if "layer" not in names or "head" not in names:
            continue
        several |= "site" in names
        for row in rows:
            layer, head = (_words(row[names.index(name)]) for name in ("layer", "head"))
            site = _words(row[names.index("site")]) if "site" in names else None
            if layer.isdecimal() and head.isdecimal():
                cell = row[names.index("head")]
                cell.children = list(_linked(cell.children or [], _to_head(layer, head, site)))
    for token in tokens:
        # a sentence does not always say of which site a head is
        if token.type == "inline" and not several:
            token.children = list(_heads_in_prose(token.children or []))


def render_html(markdown: str, folder: Path, home: Path | None = None) -> str:
    """Return a page of a report as one HTML file.

    Parameters
    ----------
    markdown : str
        The page, as report.md holds it. Of HTML it may hold folds alone, written as this package writes them; all
        other markup is shown as text.
    folder : Path
        Where the page's figures lie; they are put into the file as data URIs. If the head browser lies there, every
        head of a table and of a sentence leads to itself in the browser.
    home : Path or None
        Where the page will lie, which its links to other reports start from; `folder` unless given.

    Returns
    -------
    str
        The same page gives the same text. It holds no script, and its policy allows none and no request.
    """
    home = folder if home is None else home
    parser = _parser()
    env: MutableMapping[str, Any] = {}
    tokens = parser.parse(markdown, env)
    tokens += [Token("fold_close", "details", -1, block=True) for _ in range(env.get("folds", 0))]
    headings = _name_headings(tokens)
    _class_alignments(tokens)
    change = partial(_changed, folder=folder, home=home)
    for token in tokens:
        if token.type == "inline":
            token.children = list(change(token.children or []))
    if (folder / BROWSER).is_file():
        _link_heads(tokens)
    style = files("metastable.report").joinpath("templates/one_file.css").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("metastable.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template("one_file.html.j2").render(
        title=next((heading.text for heading in headings), "Report"),
        policy=f"default-src 'none'; style-src {source_hash(style)}; img-src data:; base-uri 'none'; "
        "form-action 'none'",
        style=Markup(style),
        sections=[heading for heading in headings if heading.tag == "h2"],
        body=Markup(parser.renderer.render(tokens, parser.options, env)),
    )


def write_html(page: Path, home: Path | None = None) -> Path:
    """Write a page of a report as one HTML file beside it.

    Parameters
    ----------
    page : Path
        The Markdown file, with its figures beside it: report.md gives report.html.
    home : Path or None
        Where the page will lie, as `render_html` has it.

    Returns
    -------
    Path
        The file written.
    """
    path = page.with_suffix(".html")
    write_text(path, render_html(page.read_text(encoding="utf-8"), page.parent, home))
    return path
