import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import studies
from metastable.errors import InputError
from metastable.study import registry as registry_module
from metastable.study.registry import ENTRY_POINT_GROUP, find_studies, load_study

GOOD = """
from metastable.study import Condition, Material, Study

STUDY = Study(
    name={name!r}, title="T", question="Q?", build=lambda options, tokenizer: Material(()),
    conditions=(Condition("a", "one"), Condition("b", "two")),
)
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "my_studies"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "good.py").write_text(GOOD.format(name="good"))
    (folder / "_helper.py").write_text("raise RuntimeError('must not be imported')")
    (folder / "empty.py").write_text("")
    (folder / "broken.py").write_text("import no_such_module_anywhere")
    (folder / "twin.py").write_text(GOOD.format(name="good"))
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("my_studies")
    for name in [name for name in sys.modules if name.startswith("my_studies")]:
        del sys.modules[name]


def test_a_broken_study_stops_nobody(package):
    found = find_studies(package)
    assert list(found.studies) == ["good"]
    assert set(found.problems) == {"empty", "broken", "twin"}
    with pytest.raises(InputError, match="no_such_module_anywhere"):
        found.get("broken")
    with pytest.raises(InputError, match="defines no STUDY"):
        found.get("empty")


def test_an_unknown_study_is_answered_with_the_nearest(package):
    with pytest.raises(InputError, match="there is no study 'goood'; did you mean 'good'"):
        find_studies(package).get("goood")


def test_studies_of_installed_packages_come_in_by_entry_point(package, monkeypatch):
    points = [
        EntryPoint("good", "my_studies.good:STUDY", ENTRY_POINT_GROUP),
        EntryPoint("module", "my_studies.twin", ENTRY_POINT_GROUP),
        EntryPoint("wrong", "my_studies.good:Condition", ENTRY_POINT_GROUP),
    ]
    monkeypatch.setattr(registry_module, "entry_points", lambda group: points)
    found = find_studies(None)
    assert list(found.studies) == ["good"]
    assert "rename" in found.problems["module"]
    assert "is not a Study" in found.problems["wrong"]


def test_the_shipped_studies_have_no_problem():
    found = find_studies(studies)
    assert "mt40k_topbotk" in found.studies
    assert not found.problems


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "mine.py").write_text(GOOD.format(name="mine"))
    return Path("studies")


def test_a_folder_adds_its_studies(folder):
    (folder / "_helper.py").write_text("raise RuntimeError('must not be read')")
    (folder / "broken.py").write_text("1 / 0")
    found = find_studies(studies, folder)
    assert set(found.studies) == {*find_studies(studies).studies, "mine"}
    assert found.problems == {"broken": "ZeroDivisionError: division by zero"}
    assert "studies.mine" not in sys.modules


def test_a_study_of_the_folder_that_bears_a_shipped_ones_name_is_told_with_both_files(folder):
    (folder / "mt40k_topbotk.py").write_text(GOOD.format(name="mt40k_topbotk"))
    found = find_studies(studies, folder)
    shipped = Path(studies.__file__).parent / "mt40k_topbotk.py"
    told = (
        f"two studies are called 'mt40k_topbotk', in {shipped} and in {folder / 'mt40k_topbotk.py'}; rename one of them"
    )
    assert found.problems == {"mt40k_topbotk": told}
    with pytest.raises(InputError, match="two studies are called"):
        found.get("mt40k_topbotk")


def test_the_folder_of_the_package_itself_is_not_read_twice(monkeypatch):
    monkeypatch.chdir(Path(studies.__file__).parents[1])
    assert find_studies(studies, Path("studies")) == find_studies(studies)


def test_a_folder_that_is_a_package_is_read_and_its_file_named(folder):
    (folder / "__init__.py").touch()
    found = find_studies(studies, folder)
    assert "mine" in found.studies
    assert found.hints[0].startswith(f"remove {folder / '__init__.py'}: ")


def test_a_study_is_loaded_from_its_file_wherever_it_lies(folder):
    assert load_study(folder / "mine.py").name == "mine"
    (folder / "empty.py").touch()
    with pytest.raises(InputError, match="defines no STUDY"):
        load_study(folder / "empty.py")
