"""The documentation site: every page is in it, every example runs alone, and the gate builds it without a warning.

The site itself is built by the gate (``.ci/run``), which also runs one of its notebooks.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EXAMPLES = sorted((DOCS / "examples").glob("example_*.py"))


def module(name):
    specification = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    found = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(found)
    return found


def test_every_page_stands_in_the_index_once():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = [line for block in re.findall(r"```\{toctree\}(.*?)```", index, re.DOTALL) for line in block.split()]
    pages = [name for name in listed if (DOCS / f"{name}.md").is_file()]
    assert sorted(pages) == sorted(path.stem for path in DOCS.glob("*.md") if path.stem != "index")
    assert "gallery/index" in listed


def test_links_between_pages_and_to_examples_lead_somewhere():
    for page in DOCS.glob("*.md"):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (DOCS / target).is_file(), f"{page.name}: {target}"


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_needs_nothing_but_itself(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    title, rule, *_ = ast.get_docstring(tree).splitlines()
    assert rule == "=" * len(title)
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    known = {"matplotlib", "metastable", "numpy", "pandas", "pathlib", "tempfile", "textwrap", "torch", "transformers"}
    assert imported <= known
    # what it writes goes to a folder of its own
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "metastable.run":
            assert "out" in {keyword.arg for keyword in node.keywords}


def test_a_link_to_an_example_is_one_to_its_page_in_the_site():
    source = ["[a](examples/example_1_study_from_a_frame.py) [b](glossary.md)"]
    module("site_figures").link_examples(None, "start", source)
    assert source == ["[a](gallery/example_1_study_from_a_frame.rst) [b](glossary.md)"]


def test_a_notebook_is_run_cell_by_cell_and_stops_where_it_fails(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "some.ipynb"
    cells = ["a = 1\na", "b = a + 1", "open('written', 'w').write(str(b))"]

    def write(code):
        kinds = [{"cell_type": "markdown", "source": ["# A"]}, *({"cell_type": "code", "source": [c]} for c in code)]
        path.write_text(json.dumps({"cells": kinds}))

    write(cells)
    assert module("run_notebook").run_notebook(path) == 3
    monkeypatch.chdir(tmp_path)
    assert not (tmp_path / "written").exists()
    write([*cells, "1 / 0"])
    with pytest.raises(ZeroDivisionError):
        module("run_notebook").run_notebook(path)


def test_the_gate_builds_the_site_without_warnings_and_runs_a_notebook():
    gate = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert re.search(r"^python -m sphinx .*-W", gate, re.MULTILINE)
    (run,) = re.findall(r"^python docs/run_notebook\.py docs/gallery/(\S+)\.ipynb", gate, re.MULTILINE)
    assert run in {path.stem for path in EXAMPLES}
