import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from metastable.errors import InputError
from metastable.files import (
    files_below,
    finish_moving,
    require_writable,
    sha256_of,
    sweep_temporary,
    take_along,
    unlike,
    write_text,
    written_together,
    written_whole,
)
from tests.faults import FAULTS, arm, forked


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "heads.csv"
    write_text(path, "old")

    def fail():
        with written_whole(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_text_replaces_the_old_file_and_others_may_read_it(tmp_path):
    path = tmp_path / "new" / "report.md"
    write_text(path, "one\n")
    write_text(path, "twó\n")
    assert path.read_bytes() == "twó\n".encode()
    assert path.stat().st_mode & 0o400
    assert list(path.parent.iterdir()) == [path]


def test_sha256(tmp_path):
    path = tmp_path / "norms.csv"
    path.write_bytes(b"null\n")
    assert sha256_of(path) == hashlib.sha256(b"null\n").hexdigest()


def test_a_file_in_the_way_is_told_with_its_option(tmp_path):
    (tmp_path / "reports").write_text("not a folder")
    with pytest.raises(InputError, match=r"cannot write to .*reports/x .*by --out"):
        require_writable(tmp_path / "reports" / "x", "--out")


def written(folder, **texts):
    with written_together(folder, "run.json") as staged:
        for name, text in texts.items():
            write_text(staged / f"{name}.csv", text)
        files = {name: sha256_of(staged / name) for name in files_below(staged)}
        write_text(staged / "run.json", json.dumps({"files": files}))


def held(folder):
    return {name: (folder / name).read_text() for name in files_below(folder, but=("run.json",))}


def test_files_written_together_replace_those_of_the_former_record_and_no_others(tmp_path):
    (tmp_path / "mine.csv").write_text("the user's")
    written(tmp_path, heads="old", stale="old")
    written(tmp_path, heads="new", layers="new")
    assert held(tmp_path) == {"heads.csv": "new", "layers.csv": "new", "mine.csv": "the user's"}
    assert not unlike(tmp_path, json.loads((tmp_path / "run.json").read_text())["files"])
    (tmp_path / "layers.csv").write_text("changed")
    assert unlike(tmp_path, json.loads((tmp_path / "run.json").read_text())["files"]) == ["layers.csv"]


def test_a_record_cannot_name_a_file_outside_its_folder(tmp_path):
    (tmp_path / "precious").write_text("x")
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"files": {"../precious": "", str(tmp_path / "precious"): ""}}))
    written(folder, heads="new")
    assert (tmp_path / "precious").exists()


def test_what_fails_while_it_is_written_leaves_what_was_there(tmp_path):
    written(tmp_path, heads="old")
    before = held(tmp_path)

    def fail():
        with written_together(tmp_path, "run.json") as staged:
            write_text(staged / "heads.csv", "half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert held(tmp_path) == before


@pytest.mark.parametrize("moment", range(6))
def test_a_move_that_is_cut_short_is_no_report_and_goes_on(tmp_path, monkeypatch, moment):
    written(tmp_path, heads="old", layers="old")
    moves = 0

    def replace(self, target, real=Path.replace):
        nonlocal moves
        # writing three files aside takes three steps, moving the former record and the new ones four
        moves += 1
        if moves == 4 + moment:
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    if moment < 4:
        with pytest.raises(InputError, match="what was written is whole in"):
            written(tmp_path, heads="new", layers="new")
        assert (tmp_path / "run.json").exists() == (moment == 0)
        monkeypatch.undo()
        assert finish_moving(tmp_path, "run.json")
    else:
        written(tmp_path, heads="new", layers="new")
    assert held(tmp_path) == {"heads.csv": "new", "layers.csv": "new"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["heads.csv", "layers.csv", "run.json"]


def test_a_folder_that_is_whole_comes_along(tmp_path):
    for name in ("counts.zarr", ".counts-abc.zarr"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "is").write_text(name)
    with written_together(tmp_path, "run.json") as staged:
        take_along(staged, tmp_path / ".counts-abc.zarr", tmp_path / "counts.zarr")
        write_text(staged / "run.json", "{}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["counts.zarr", "run.json"]
    assert (tmp_path / "counts.zarr" / "is").read_text() == ".counts-abc.zarr"


def test_temporary_files_are_swept_and_others_stay(tmp_path):
    for name in (".heads.csv-ab_1cd23.csv", ".report.md-zzzzzzzz.md", ".heads.csv-mine.csv", ".notes.md", "heads.csv"):
        (tmp_path / name).touch()
    sweep_temporary(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".heads.csv-mine.csv", ".notes.md", "heads.csv"]


def state(folder):
    """What a reader accepts: the texts of a report whose record fits its files, or nothing."""
    if not (folder / "run.json").exists():
        return None
    files = json.loads((folder / "run.json").read_text())["files"]
    assert not unlike(folder, files), "a mixture is called whole"
    texts = {name: text for name, text in held(folder).items() if not name.startswith(".")}
    return texts if all((folder / name).exists() for name in files) else None


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_every_event_of_writing_leaves_the_old_the_new_or_no_report(tmp_path, fault):
    old = {"heads": "old", "stale": "old", "same": "same"}
    new = {"heads": "new", "layers": "new", "same": "same"}
    goal = {f"{name}.csv": text for name, text in new.items()}
    seen, number, code = set(), 0, None
    while code != 0:
        number += 1
        folder = tmp_path / f"at{number}"
        written(folder, **old)
        (folder / ".counts-new.zarr").mkdir()

        def fail(folder=folder, number=number):
            arm(folder, number, fault)
            written(folder, **new)

        code = forked(fail, tmp_path / "log")
        found = state(folder)
        seen.add(None if found is None else tuple(found.values()))
        assert found in (None, goal, {f"{name}.csv": text for name, text in old.items()})
        finish_moving(folder, "run.json")
        sweep_temporary(folder)
        written(folder, **new)
        assert state(folder) == goal
        assert sorted(path.name for path in folder.iterdir()) == sorted([*goal, "run.json", ".counts-new.zarr"])
    assert number > 20
    assert len(seen) == 3


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_a_file_may_be_read_by_whom_the_umask_allows_and_the_umask_stays(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: write_text(tmp_path / "a" / f"{number}.txt", "text"), range(20)))
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "a").iterdir()} == {mode}
    assert len(list((tmp_path / "a").iterdir())) == 20
