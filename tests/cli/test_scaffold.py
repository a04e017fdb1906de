"""A new study and its test run as they are written, and nothing is ever replaced."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from metastable.cli.scaffold import check_name, write_study
from metastable.errors import InputError
from metastable.models.encoders import load_tokenizer
from metastable.study.own_options import options_for
from metastable.study.registry import find_studies

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path):
    return tmp_path


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(project, *arguments):
    # an empty folder: studies and metastable are where they are installed
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def test_what_new_writes_passes_its_own_test(project):
    made = call(project, "studies", "new", "zoo")
    assert made.returncode == 0, made.stderr
    assert "python -m studies zoo" in made.stdout
    done = call(project, "pytest", "-q", "-p", "no:cacheprovider", "tests/studies/test_zoo.py")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "3 passed" in done.stdout


def test_what_new_writes_is_formatted_and_clean(project):
    (project / "data").mkdir()
    (project / "data" / "mine.csv").write_text("condition,text,pair\nit's so,one,k\nother,two,k\n")
    write_study("zoo", project)
    write_study("mine", project, csv=project / "data" / "mine.csv")
    ruff = ["--config", str(ROOT / "pyproject.toml"), "--config", f"src=['.', '{ROOT / 'src'}']"]
    files = ["studies/zoo.py", "studies/mine.py", "tests/studies/test_zoo.py", "tests/studies/test_mine.py"]
    for command in (["check"], ["format", "--check"]):
        done = call(project, "ruff", *command, *ruff, *files)
        assert done.returncode == 0, done.stdout


def test_a_study_of_a_file_reads_it_wherever_the_project_goes(project, tmp_path_factory):
    (project / "data").mkdir()
    (project / "data" / "mine.csv").write_text("condition,text,cluster\nred,one,k\nblue,two,l\nred,three,m\n")
    write_study("mine", project, csv=project / "data" / "mine.csv")
    moved = tmp_path_factory.mktemp("moved") / "project"
    shutil.move(project, moved)
    study = load(moved / "studies" / "mine.py").STUDY
    assert [condition.name for condition in study.conditions] == ["red", "blue"]
    assert study.design.clustered
    assert not study.design.paired
    material = study.build(options_for(study), load_tokenizer())
    assert [sequence.cluster for sequence in material.sequences] == ["k", "l", "m"]


def test_a_file_outside_the_project_is_found_from_the_studys_own_file(project, tmp_path_factory, monkeypatch):
    file = tmp_path_factory.mktemp("elsewhere") / "mine.csv"
    file.write_text("condition,text\nred,one\nblue,two\n")
    made = write_study("mine", project, csv=file)
    assert str(file.parent) not in made.study.read_text()
    monkeypatch.chdir(file.parent)
    assert load(made.study).FILE.resolve() == file


def test_the_new_study_is_found(project):
    write_study("zoo", project)
    found = find_studies(None, project / "studies")
    assert list(found.studies) == ["zoo"]
    assert not found.problems


@pytest.mark.parametrize("name", ["", "Zoo", "my-study", "1st", "class", "_x", "a" * 51, "x.py", "../x", "x "])
def test_bad_names_are_refused(name):
    with pytest.raises(InputError, match="cannot name a study"):
        check_name(name, ())


def test_nothing_is_replaced(project):
    with pytest.raises(InputError, match="is the name of a study or command that there is"):
        write_study("zoo", project, taken={"zoo"})
    made = write_study("zoo", project)
    before = made.study.read_bytes()
    made.test.unlink()
    with pytest.raises(InputError, match=r"zoo\.py is there already"):
        write_study("zoo", project)
    assert made.study.read_bytes() == before
    assert not made.test.exists()
    made.study.unlink()
    made.test.write_text("mine")
    with pytest.raises(InputError, match=r"test_zoo\.py is there already"):
        write_study("zoo", project)
    assert not made.study.exists()
    assert made.test.read_text() == "mine"


def test_the_folder_of_studies_is_made_and_is_no_package(project):
    made = write_study("zoo", project)
    assert sorted(path.name for path in made.study.parent.iterdir()) == ["zoo.py"]
