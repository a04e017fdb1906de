"""The command that writes a study to start from: what it refuses."""

import pytest

import studies
from metastable.cli import main


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "new needs a name for the study"),
        (["--csv", "x.csv"], "new needs a name for the study"),
        (["My-Study"], "'My-Study' cannot name a study"),
        (["calibrate"], "'calibrate' is the name of a study or command"),
        (["mt40k_topbotk"], "'mt40k_topbotk' is the name of a study or command"),
        (["mine", "--csv", "nothing.csv", "--folder", "{project}"], "--csv nothing.csv: there is no such file"),
        (["mine", "--fodler", "x"], "unrecognized arguments: --fodler x; did you mean --folder?"),
        (["mine", "more"], "unrecognized arguments: more"),
    ],
)
def test_bad_input_gives_one_sentence_and_writes_nothing(tmp_path, monkeypatch, capsys, arguments, complaint):
    project = tmp_path / "project"
    (project / "studies").mkdir(parents=True)
    (project / "studies" / "__init__.py").write_text("")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    code = main(["new", *(text.format(project=project) for text in arguments)], package=studies)
    assert code == 2
    assert complaint in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["__init__.py"]


def test_both_files_are_written_and_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "zoo"], package=studies, program="metastable") == 0
    out = capsys.readouterr().out
    assert "metastable zoo" in out
    assert not (tmp_path / "studies" / "__init__.py").exists()
    assert "studies/zoo.py" in out
    assert "tests/studies/test_zoo.py" in out
    assert (tmp_path / "tests" / "studies" / "test_zoo.py").is_file()
