"""A run that fails wherever it writes leaves no mixture, and the next one gives what an undisturbed one gives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import FAULTS
from tests.model_folders import model_folder
from tests.runs.faulty_runs import write_texts

ROOT = Path(__file__).parents[2]
# at every one takes half an hour for each fault; the writers by themselves are tried at every one elsewhere
POINTS = 0 if os.environ.get("METASTABLE_EVERY_WRITE") else 6


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_that_fails_where_it_writes_is_made_good_by_the_next(tmp_path, fault):
    model_folder(tmp_path / "model", "bert")
    write_texts(tmp_path / "texts.csv")
    done = subprocess.run(
        [sys.executable, "-m", "tests.runs.faulty_runs", str(tmp_path), fault, str(POINTS)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert int(done.stdout.split()[-1]) >= 6
