"""What all tests share: the cores, Triton's interpreter where there is no card, reports without drawn figures."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_limits

if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    # Threads of more than there are cores wait for each other in busy loops: each worker, and each process that it
    # starts, takes its share.
    share = max(1, (os.cpu_count() or 1) // workers)
    os.environ.setdefault("OMP_NUM_THREADS", str(share))
    torch.set_num_threads(share)
    threadpool_limits(share)

if not torch.cuda.is_available():
    # Triton reads it when it is first imported
    os.environ.setdefault("TRITON_INTERPRET", "1")

_DOT = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII=")


def _save_a_dot(figure: object, folder: Path, stem: str, *, alt: str | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}.png").write_bytes(_DOT)
    (folder / f"{stem}.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>", encoding="utf-8")


@pytest.fixture(scope="module")
def undrawn_figures() -> Iterator[None]:
    """Runs of studies save a dot for each figure: drawing takes most of a small run, and no test here looks at them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metastable.runs.study.saving_beside", lambda _=None: nullcontext(_save_a_dot))
        yield


@pytest.fixture
def undrawn_within(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for the runs within a test, while those of the module's fixtures are drawn."""
    monkeypatch.setattr("metastable.runs.study.saving_beside", lambda _=None: nullcontext(_save_a_dot))
