"""Reports as text: with the alt texts and captions of all figures, which are not drawn."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from metastable import figures
from metastable.report.run.page import render_report
from metastable.report.run.plates import draw_plates
from tests.report.fixed_results import fixed_result

# tests that read the same report share it
fixed = cache(fixed_result)


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    for name in figures.__all__:
        if not name.endswith("_alt"):
            monkeypatch.setattr(figures, name, lambda *args, **options: None)

    def rendered(design: str, **changed: Any) -> str:
        result = fixed(design, **changed)
        return render_report(result, draw_plates(result))

    return rendered
