"""One run at a time writes to a folder; the lock of a dead one is taken over."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import studies
from metastable.cli import main
from metastable.errors import InputError
from metastable.files import write_text
from metastable.progress import Silent
from metastable.runs.writing_alone import say_unfinished_cubes, writing_alone

HOLD = """
import sys, time
from pathlib import Path
from metastable.runs.writing_alone import writing_alone
with writing_alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that writes to the folder of null_split."""
    paths = os.pathsep.join(sys.path)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "null_split")],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("command", [(), ("calibrate",), ("freeze",)])
def test_a_folder_that_another_run_writes_to_is_refused_at_once(holder, tmp_path, capsys, command):
    assert main([*command, "null_split", "--k", "60", "--out", str(tmp_path)], package=studies) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert f"error: another run is writing to {tmp_path / 'null_split'}; wait until it is over" in err
    assert [path.name for path in (tmp_path / "null_split").iterdir()] == [".lock"]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_of_a_process_that_died_is_free(holder, tmp_path, end):
    folder = tmp_path / "null_split"
    with pytest.raises(InputError, match="another run"), writing_alone(folder):
        pass
    holder.send_signal(end)
    holder.wait()
    with writing_alone(folder):
        assert (folder / ".lock").exists()


def test_nothing_is_left_of_a_folder_that_nothing_was_written_to(tmp_path):
    def refused():
        with writing_alone(tmp_path / "reports" / "study"):
            raise InputError("bad")

    with pytest.raises(InputError):
        refused()
    assert not list(tmp_path.iterdir())
    with writing_alone(tmp_path / "reports" / "study"):
        write_text(tmp_path / "reports" / "study" / "heads.csv", "x")
    assert [path.name for path in (tmp_path / "reports" / "study").iterdir()] == ["heads.csv"]


def test_what_killed_runs_left_is_cleared_away_or_named(tmp_path):
    for name in (".counts-0123456789abcdef.zarr", ".run-new-0a1b2c3d", "figures"):
        (tmp_path / name).mkdir()
    (tmp_path / ".counts-0123456789abcdef.zarr" / "zarr.json").write_bytes(b"x" * 2_500_000)
    (tmp_path / ".run-new-0a1b2c3d" / "heads.csv").touch()
    for place in (tmp_path, tmp_path / "figures"):
        (place / ".a.png-abcdefgh.png").touch()
    with writing_alone(tmp_path):
        pass
    assert sorted(path.name for path in tmp_path.rglob("*") if "zarr" not in path.name) == ["figures"]

    class Heard(Silent):
        said: list[str] = []  # noqa: RUF012

        def say(self, text):
            self.said.append(text)

    say_unfinished_cubes(tmp_path, None, Heard())
    (sentence,) = Heard.said
    assert ".counts-0123456789abcdef.zarr (2.5 MB) holds counts of another recipe" in sentence
    say_unfinished_cubes(tmp_path, Path(tmp_path / ".counts-0123456789abcdef.zarr"), Heard())
    assert len(Heard.said) == 1
