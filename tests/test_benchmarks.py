"""The benchmarks that nobody runs every day run to their end, and refuse what they cannot do in one sentence."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]), "OMP_NUM_THREADS": "1"}


def run(name, *arguments):
    command = [sys.executable, str(ROOT / "benchmarks" / name), *arguments]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def load(name):
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["gpu.py", "main_job.py", "growth.py"])
def test_help_says_what_is_measured(name):
    done = run(name, "--help")
    assert done.returncode == 0, done.stderr
    assert f"python benchmarks/{name}" in done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_without_a_card_there_is_one_sentence():
    done = run("gpu.py")
    assert done.returncode == 1
    assert done.stderr == "error: there is no CUDA device here; run it where there is one, or with --dry\n"
    assert done.stdout == ""


def test_a_card_whose_rows_triton_does_not_measure_is_refused_in_one_sentence(monkeypatch):
    gpu = load("gpu")
    lacking = gpu.RowKernel("torch", "Triton is not installed; run: pip install triton")
    monkeypatch.setattr(gpu, "choose_row_kernel", lambda *_: lacking)
    with pytest.raises(
        SystemExit, match="error: Triton does not measure the rows of this card: Triton is not installed"
    ):
        gpu.of_card(512)


@pytest.mark.parametrize(("n_wrong", "fails"), [(0, False), (5, False), (500, True)])
def test_more_different_counts_than_rounding_explains_are_a_failure(monkeypatch, n_wrong, fails):
    gpu = load("gpu")
    monkeypatch.setattr(gpu, "check", lambda _: (n_wrong, 500_000))
    for part in ("table", "end_to_end", "permutations", "long_rows", "short_rows"):
        monkeypatch.setattr(gpu, part, lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--dry"])
    if fails:
        with pytest.raises(SystemExit, match="500 of 500,000 counts differ from the CPU's"):
            gpu.main()
    else:
        gpu.main()


@pytest.mark.benchmark
def test_every_line_for_a_card_runs_dry():
    pytest.importorskip("triton", reason="Triton is not installed; it comes with the extra dev on Linux")
    done = run("gpu.py", "--dry")
    assert done.returncode == 0, done.stderr
    assert "0 of 4,680 counts differ from the CPU's" in done.stdout
    assert "end to end, float32, 12 tokens" in done.stdout
    assert "the same p-values" in done.stdout
    assert "40 keys in parts, bfloat16" in done.stdout


@pytest.mark.benchmark
def test_both_sides_of_the_main_job_find_the_same_means():
    done = run("main_job.py", "--k", "60", "--permutations", "99", "--turns", "1", "--threads", "1")
    assert done.returncode == 0, done.stderr
    assert "12 sequences, 99 relabelings" in done.stdout
    assert "ratio: " in done.stdout
    assert float(done.stdout.split("means of heads differ by at most ")[1].split(";")[0]) < 1e-9


def test_a_cell_of_the_table_of_growth_is_measured():
    growth = load("growth")
    small = growth.Case(4, 8, 1, 2, 1, "tokens", 20)
    found, means = growth.measure(small), growth.measure(growth.replace(small, keep="means"))
    assert min(found.extraction, found.statistics) >= 0
    assert found.disk > means.disk > 0
