"""Reports as text: with the alt texts and captions of all figures, which are not drawn."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from metastable.report.run.page import render_page
from metastable.report.run.plates import run_plates
from tests.report.fixed_results import fixed_result

# tests that read the same report share it
fixed = cache(fixed_result)


@pytest.fixture
def report() -> Callable[..., str]:
    def rendered(design: str, **changed: Any) -> str:
        result = fixed(design, **changed)
        return render_page(result, run_plates(result))

    return rendered
