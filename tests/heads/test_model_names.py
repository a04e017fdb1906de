"""Names of models: ids, folders, checkpoints, files of them, and which of them are draws."""

from __future__ import annotations

import pytest

from metastable.errors import InputError
from metastable.heads.model_names import draws_of, read_models, trainings_of


def test_ids_revisions_and_folders_are_told_apart(tmp_path):
    for checkpoint in ("step1", "step2"):
        (tmp_path / "run" / checkpoint).mkdir(parents=True)
    whole, first, hub, alone = read_models(
        [str(tmp_path / "run" / "step1"), f"{tmp_path}/run@step2", "owner/bert@v1", "bert-base-uncased"]
    )
    assert (whole.model, whole.training, whole.label) == (str(tmp_path / "run" / "step1"), "", "step1")
    assert (first.model, first.revision, first.label) == (str(tmp_path / "run" / "step2"), None, "run@step2")
    assert (hub.model, hub.revision, hub.training) == ("owner/bert", "v1", "owner/bert")
    assert hub.folder == "owner_bert_v1"
    assert (alone.revision, alone.training) == (None, "")


def test_a_file_names_models_and_families(tmp_path):
    path = tmp_path / "models.txt"
    path.write_text("# seeds\nbert-1\tseeds\n\nbert-2\tseeds\nalbert\n")
    found = read_models([f"@{path}", "gpt2"])
    assert [(one.model, one.family) for one in found] == [
        ("bert-1", "seeds"), ("bert-2", "seeds"), ("albert", ""), ("gpt2", "")
    ]  # fmt: skip


def test_checkpoints_of_one_training_are_one_draw():
    models = read_models(["a@1", "b", "a@2", "a@3", "c@main"])
    assert trainings_of(models) == {"a": [0, 2, 3]}
    assert draws_of(models) == [False, True, False, True, True]


def test_folders_of_one_name_are_told_apart(tmp_path):
    for place in ("x", "y"):
        (tmp_path / place / "model").mkdir(parents=True)
    one, other = read_models([str(tmp_path / "x" / "model"), str(tmp_path / "y" / "model")])
    assert one.folder != other.folder
    assert one.label != other.label


@pytest.mark.parametrize(
    ("given", "families", "words"),
    [
        ([], (), "no model was given"),
        (["a", "a"], (), "given twice"),
        (["a", "b"], ("x",), "names 1 families, but there are 2 models"),
        (["a"], ("untrained",), "is that of --siblings"),
        (["@nowhere.txt"], (), "nowhere.txt cannot be read"),
        (["a@"], (), "give id@revision"),
    ],
)
def test_bad_names_are_refused_in_one_sentence(given, families, words):
    with pytest.raises(InputError, match=words):
        read_models(given, families)


def test_families_stand_in_one_place(tmp_path):
    path = tmp_path / "models.txt"
    path.write_text("bert\tx\n")
    with pytest.raises(InputError, match="in one place"):
        read_models([f"@{path}"], ["y"])


def test_a_checkpoint_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no folder step9"):
        read_models([f"{tmp_path}@step9"])
    path = tmp_path / "models.txt"
    path.write_text("# none\n")
    with pytest.raises(InputError, match="names no model"):
        read_models([f"@{path}"])
