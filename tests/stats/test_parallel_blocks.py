"""Blocks of work run side by side, their results come in order, and their products take one thread each."""

import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from metastable.stats import permutation_test
from metastable.stats.parallel_blocks import blas_threads, side_by_side


def _blas_now() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_results_come_in_the_order_of_the_parts(n_threads):
    def slow_first(part):
        time.sleep(0.002 * (10 - part))
        return part * part

    with threadpool_limits(n_threads, user_api="blas"):
        assert list(side_by_side(slow_first, range(10))) == [part * part for part in range(10)]


def test_products_within_take_one_thread_and_have_theirs_back_after():
    with threadpool_limits(2, user_api="blas"):
        before = _blas_now()
        within = list(side_by_side(lambda _: _blas_now(), range(4)))
        assert blas_threads() == 2
        assert _blas_now() == before
    assert all(set(numbers) == {1} for numbers in within)


def test_no_more_parts_are_drawn_than_there_are_threads():
    drawn, done = [], []

    def parts():
        for part in range(20):
            drawn.append(part)
            yield part

    with threadpool_limits(2, user_api="blas"):
        for result in side_by_side(lambda part: part, parts()):
            done.append(result)
            assert len(drawn) <= len(done) + 2


def test_parts_run_on_several_threads_at_a_time():
    together = threading.Barrier(2, timeout=10)
    with threadpool_limits(2, user_api="blas"):
        assert len(list(side_by_side(lambda _: together.wait(), range(2)))) == 2


def test_what_a_part_raises_is_raised_and_the_threads_are_given_back():
    def fail(part):
        if part == 3:
            raise ValueError("the third")
        return part

    with threadpool_limits(2, user_api="blas"):
        with pytest.raises(ValueError, match="the third"):
            list(side_by_side(fail, range(8)))
        assert blas_threads() == 2


def test_a_permutation_test_does_not_depend_on_the_number_of_threads():
    values = np.random.default_rng(0).normal(size=(60, 7))
    results = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads, user_api="blas"):
            results.append(permutation_test(values, np.arange(60) < 25, n_permutations=5000, rng=1))
    assert np.array_equal(results[0].p_perm, results[1].p_perm)
    assert np.array_equal(results[0].p_fwer, results[1].p_fwer)
