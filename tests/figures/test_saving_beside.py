"""Figures saved by processes beside this one: the same files, and none is lost whatever happens to them."""

from __future__ import annotations

import pickle
from functools import partial
from io import BytesIO

import numpy as np
import pytest
from matplotlib.ticker import FuncFormatter

from metastable import figures
from metastable.errors import InputError
from metastable.figures import saving_beside as module
from metastable.figures.saving_beside import processes_beside, saving_beside, serve


@pytest.fixture
def drawn(heads, power):
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 50, size=(2, 6, 12, 21))
    table = heads(6, 12)
    return {
        "summary": figures.summary_figure(table),
        "heatmap": figures.heatmap(table),
        "significance": figures.significance_mask(table),
        "violins": figures.violin_pair(*counts, n=20),
        "p_values": figures.p_value_histogram(table),
        "sensitivity": figures.sensitivity_curve(power),
    }


@pytest.fixture
def processes(monkeypatch):
    """Processes that were started, to be looked at."""
    started = []

    def start(n, real=module._started):
        started.extend(found := real(n))
        return found

    monkeypatch.setattr(module, "_started", start)
    return started


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def saved_here(drawn, folder):
    for stem, figure in drawn.items():
        figures.save_figure(figure, folder, stem, alt=f"what {stem} shows")
    return files_of(folder)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_the_files_are_the_same_however_many_processes_save_them(tmp_path, drawn, processes, n):
    expected = saved_here(drawn, tmp_path / "here")
    with saving_beside(n) as save:
        for stem, figure in drawn.items():
            save(figure, tmp_path / "beside", stem, alt=f"what {stem} shows")
    assert files_of(tmp_path / "beside") == expected
    assert len(processes) == n
    assert all(process.poll() is not None for process in processes)


def test_a_figure_can_be_drawn_beside_too(tmp_path, heads):
    table = heads(6, 12)
    expected = saved_here({"x": figures.heatmap(table, "mean_b")}, tmp_path / "here")
    with saving_beside(1) as save:
        save(partial(figures.heatmap, table, "mean_b"), tmp_path / "beside", "x", alt="what x shows")
    assert files_of(tmp_path / "beside") == expected


def test_a_process_saves_every_figure_that_is_handed_to_it(tmp_path, drawn, heads):
    jobs = BytesIO()
    drawn["layers"] = figures.difference_map(heads(6, 12))
    drawings = {**drawn, "layers": partial(figures.difference_map, heads(6, 12))}
    expected = saved_here(drawn, tmp_path / "here")
    for stem, figure in drawings.items():
        message = pickle.dumps(module._Job(figure, tmp_path / "beside", stem, f"what {stem} shows"))
        jobs.write(len(message).to_bytes(8, "big") + message)
    jobs.seek(0)
    answers = BytesIO()
    serve(jobs, answers)
    assert answers.getvalue() == b"+" * len(drawn)
    assert files_of(tmp_path / "beside") == expected


def test_a_figure_that_cannot_be_handed_over_is_saved_here(tmp_path, heads):
    figure = figures.heatmap(heads(6, 12))
    figure.axes[0].xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(figure)
    with saving_beside(1) as save:
        save(figure, tmp_path, "x")
    assert sorted(files_of(tmp_path)) == ["x.png", "x.svg"]


def test_a_process_that_dies_takes_no_figure_with_it(tmp_path, drawn, processes):
    with saving_beside(1) as save:
        processes[0].kill()
        processes[0].wait()
        for stem, figure in drawn.items():
            save(figure, tmp_path, stem)
    assert len(files_of(tmp_path)) == 2 * len(drawn)


def test_where_no_process_can_be_started_figures_are_saved_at_once(tmp_path, heads, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no more processes")

    monkeypatch.setattr(module.subprocess, "Popen", refuse)
    with saving_beside(2) as save:
        save(figures.heatmap(heads(6, 12)), tmp_path, "x")
        assert sorted(files_of(tmp_path)) == ["x.png", "x.svg"]


def test_a_folder_that_cannot_be_written_is_told_as_ever(tmp_path, heads):
    (tmp_path / "file").touch()
    figure = figures.heatmap(heads(6, 12))
    with pytest.raises(InputError, match="cannot write x"), saving_beside(1) as save:
        save(figure, tmp_path / "file" / "figures", "x")


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError])
def test_an_interruption_leaves_no_process_behind(tmp_path, drawn, processes, error):
    def work():
        with saving_beside(1) as save:
            for stem, figure in drawn.items():
                save(figure, tmp_path, stem)
            raise error

    with pytest.raises(error):
        work()
    assert processes
    assert all(process.poll() is not None for process in processes)


def test_one_core_has_no_process_beside(monkeypatch):
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert processes_beside() == 0
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert processes_beside() == 3
