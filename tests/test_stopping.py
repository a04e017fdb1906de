"""Ctrl-C, SIGTERM and SIGUSR1 end a run alike: what is in hand is finished, and one line says how to go on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from metastable.stopping import asked_to_stop, finished_first, listening, working

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_block_in_hand_is_finished_first(number):
    done = []

    def work():
        with listening(), working(), finished_first():
            os.kill(os.getpid(), number)
            done.append("block")
        done.append("next block")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["block"]


def test_a_second_signal_ends_it_at_once():
    done = []

    def work():
        with listening(), working(), finished_first():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("first")
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("second")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["first"]


def test_between_blocks_it_ends_at_once_and_leaves_the_handlers_as_they_were():
    before = [signal.getsignal(number) for number in SIGNALS]

    def work():
        with listening(), working():
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(1)
            pytest.fail("went on")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert [signal.getsignal(number) for number in SIGNALS] == before
    # what is written in this process afterwards is not ended by a signal of before
    assert not asked_to_stop()
    with finished_first():
        pass


WHILE_IMPORTING = """
import os, signal, sys
from metastable.cli.entry import start

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "{name}":
            os.kill(os.getpid(), signal.{number})
sys.meta_path.insert(0, Interrupt())
sys.argv = ["metastable", "null_split", "--k", "60"]
sys.exit(start())
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("name", ["studies", "rich.console", "numpy", "torch", "pandas"])
def test_while_the_program_is_imported_it_ends_in_one_line(tmp_path, name, number):
    code = WHILE_IMPORTING.format(name=name, number=number)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 130
    assert done.stderr == "interrupted\n"
    assert not list(tmp_path.iterdir())


RUN = """
import os, sys
import metastable.extraction.counting as counting
import metastable.extraction.store as store
import metastable.report.run.page as page
import metastable.runs.study as study_run
from contextlib import nullcontext
from metastable.cli.entry import start

number, where = int(sys.argv.pop(1)), sys.argv.pop(1)
write, count = store.CountStore.write_digests, counting.Counter.count_block

def counted(self, block, *rest):
    if number and where == "counted" and block.start > 0:
        os.kill(os.getpid(), number)
    return count(self, block, *rest)

def written(self, block):
    # on the thread that fills the cube, while the next block may be counted
    if number and where == "written" and block.start > 0:
        os.kill(os.getpid(), number)
    write(self, block)
    print("wrote", block.start, flush=True)

counting.Counter.count_block, store.CountStore.write_digests = counted, written
page.save_plates = lambda *_: None
study_run.write_run_browser = lambda *_: None
study_run.saving_beside = lambda *_: nullcontext(lambda *_, **__: None)
sys.exit(start())
"""


def run(out, number=0, where="counted"):
    arguments = ["null_split", "--k", "120", "--permutations", "39", "--batch-tokens", "80", "--out", str(out)]
    return subprocess.run(
        [sys.executable, "-c", RUN, str(int(number)), where, *arguments],
        cwd=out.parent,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert run(out).returncode == 0
    return (out / "null_split" / "heads.csv").read_bytes()


@pytest.mark.parametrize(("number", "where"), [(signal.SIGTERM, "counted"), (signal.SIGUSR1, "written")])
def test_a_job_that_is_ended_keeps_its_block_and_goes_on_from_there(tmp_path, undisturbed, number, where):
    out = tmp_path / "out"
    ended = run(out, number, where)
    assert ended.returncode == 130
    # of the block in which the signal came, too, and of the one that was counted while the writer was at it
    assert ended.stdout.count("wrote") in ({2} if where == "counted" else {2, 3, 4})
    (told,) = ended.stderr.splitlines()
    assert told.startswith(
        "interrupted: what was counted is kept; type the same command to go on: metastable null_split"
    )
    assert str(out) in told
    assert [path.suffix for path in (out / "null_split").iterdir()] == [".zarr"]
    again = run(out)
    assert again.returncode == 0
    assert "resumed: " in again.stdout
    assert "wrote 0" not in again.stdout
    assert (out / "null_split" / "heads.csv").read_bytes() == undisturbed


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "cp437", "utf-16"])
def test_any_encoding_of_the_terminal_will_do(encoding):
    for words in (["list"], ["nothing–at–all ✓ 日本"], ["null_split", "--norms", "no–such–file"]):
        done = subprocess.run(
            [sys.executable, "-m", "studies", *words],
            cwd=ROOT,
            env=ENVIRONMENT | {"PYTHONIOENCODING": encoding},
            capture_output=True,
            check=False,
        )
        assert done.returncode == (0 if words == ["list"] else 2)
        assert "Traceback" not in done.stderr.decode(encoding)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_the_marks_of_a_stage_are_written_in_letters_where_they_are_not_known(encoding):
    code = (
        "import sys; from metastable.cli.encoding import speak_in_any_encoding as speak; speak(sys.stdout)\n"
        "from rich.console import Console; from metastable.runs.progress_bars import RichStages\n"
        "stages = RichStages(Console())\n"
        "with stages.stage('g = −1 ✓ ☃'): stages.say('…')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=ENVIRONMENT | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "+ g = -1 + \\u2603" in done.stdout.decode(encoding)
