"""Threads that compute alone do all the work once, and leave no trace."""

from __future__ import annotations

import time
from threading import get_ident

import pytest
import torch

from metastable.extraction.threads import fewer_threads, share_out


@pytest.fixture(autouse=True)
def _two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_every_part_is_done_once(n_threads):
    done = []
    share_out(done.append, range(100), n_threads)
    assert sorted(done) == list(range(100))


def test_torch_computes_on_one_thread_within_and_as_before_after():
    seen = {}
    share_out(lambda part: seen.setdefault(get_ident(), torch.get_num_threads()), range(50), 2)
    assert set(seen.values()) == {1}
    assert torch.get_num_threads() == 2


def test_inference_mode_reaches_every_thread():
    modes = []
    with torch.inference_mode():
        share_out(lambda part: modes.append(torch.is_inference_mode_enabled()), range(50), 2)
    assert all(modes)


def test_an_error_in_a_thread_is_raised_and_the_setting_restored():
    def fail(part):
        raise MemoryError(str(part))

    with pytest.raises(MemoryError):
        share_out(fail, range(4), 2)
    assert torch.get_num_threads() == 2


def test_an_error_in_a_thread_that_is_not_the_callers_is_raised():
    caller = get_ident()

    def fail(part):
        if get_ident() != caller:
            raise MemoryError(str(part))
        time.sleep(0.002)

    with pytest.raises(MemoryError):
        share_out(fail, range(50), 2)


def test_threads_are_left_to_others_and_taken_back():
    with fewer_threads(1):
        assert torch.get_num_threads() == 1
    with fewer_threads(0):
        assert torch.get_num_threads() == 2
    with fewer_threads(5):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
