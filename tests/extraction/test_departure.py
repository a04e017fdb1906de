"""Tasks of the writer: in order, not too many at a time, and kept where the caller's work fails."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from metastable.extraction.batches import suitable_batch_tokens
from metastable.extraction.counting import _Kept, _mean_of_array, _mean_of_rows
from metastable.extraction.departure import Writer, depart, threads_beside
from metastable.measures import measure_named
from metastable.models.sites import Site


@pytest.mark.parametrize("n_threads", [1, 3])
def test_tasks_are_done_in_order_beside_the_caller(n_threads):
    done, threads = [], set()
    with Writer(n_threads) as writer:
        for number in range(20):

            def task(number=number):
                parts = []
                writer.share([lambda part=part: parts.append(part) for part in range(4)])
                threads.add(threading.get_ident())
                done.append((number, sorted(parts)))

            writer.submit(task)
    assert done == [(number, [0, 1, 2, 3]) for number in range(20)]
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_few_tasks_wait_at_a_time():
    gate, handed = threading.Event(), []

    def hand_over():
        with Writer(1) as writer:
            for number in range(10):
                writer.submit(gate.wait)
                handed.append(number)

    thread = threading.Thread(target=hand_over)
    thread.start()
    thread.join(0.2)
    assert len(handed) == 3
    gate.set()
    thread.join()
    assert len(handed) == 10


def test_what_a_task_raises_is_raised_and_later_tasks_are_left_out():
    done = []

    def fail():
        raise OSError("no room")

    def hand_over():
        with Writer(2) as writer:
            writer.submit(lambda: done.append("before"))
            writer.submit(fail)
            writer.submit(lambda: done.append("after"))

    with pytest.raises(OSError, match="no room"):
        hand_over()
    assert done == ["before"]


def test_what_was_handed_over_is_done_where_the_caller_fails():
    done = []

    def hand_over():
        with Writer(1) as writer:
            writer.submit(lambda: done.append("before"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hand_over()
    assert done == ["before"]


def test_what_a_task_raises_is_told_though_the_caller_was_interrupted():
    gate = threading.Event()

    def fail():
        gate.wait()
        raise OSError("no room")

    def hand_over():
        with Writer(1) as writer:
            writer.submit(fail)
            gate.set()
            raise KeyboardInterrupt

    with pytest.raises(OSError, match="no room") as told:
        hand_over()
    assert isinstance(told.value.__context__, KeyboardInterrupt)


@pytest.mark.parametrize("device", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def test_tensors_arrive_as_they_left(device):
    tensors = [
        torch.arange(6).view(2, 3).to(torch.int16),
        torch.rand(4),
        torch.zeros(0, 3),
        torch.tensor([[True, False]]),
        torch.arange(5).to(torch.int16),
    ]
    arrays = depart([tensor.to(device) for tensor in tensors])()
    for tensor, array in zip(tensors, arrays, strict=True):
        assert np.array_equal(array, tensor.numpy())
        assert array.dtype == tensor.numpy().dtype
    assert depart([])() == []


def encoder_on(device, hidden=768, n_weights=0):
    config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(hidden_size=hidden))
    weight = SimpleNamespace(numel=lambda: n_weights, element_size=lambda: 4)
    model = SimpleNamespace(config=config, parameters=lambda: [weight])
    return SimpleNamespace(device=device, model=model, sites=(Site("self", 12, 12),))


@pytest.mark.parametrize(
    ("gigabytes", "hidden", "n_weights", "tokens"),
    [(80, 768, 0, 1 << 16), (8, 768, 0, 1 << 14), (1, 8192, 0, 1 << 12), (80, 4096, 7 * 10**9, 1 << 14)],
)
def test_a_batch_follows_the_memory_of_the_card(monkeypatch, gigabytes, hidden, n_weights, tokens):
    memory = SimpleNamespace(total_memory=gigabytes * 10**9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: memory)
    assert suitable_batch_tokens(encoder_on("cuda:0", hidden, n_weights)) == tokens


def test_a_batch_of_the_cpu_stays_in_its_cache():
    assert suitable_batch_tokens(encoder_on("cpu")) == 4096
    assert threads_beside(torch.device("cpu")) == 1
    assert threads_beside(torch.device("cuda")) >= 1


@pytest.mark.parametrize("name", ["count", "share", "special_mass"])
def test_means_are_taken_on_a_card_as_on_the_host(name):
    measure = measure_named(name)
    generator = torch.Generator().manual_seed(0)
    shape = (3, 2, 7, 4) if measure.of_threshold else (3, 2, 7)
    values = torch.randint(0, 9, shape, generator=generator).int()
    values[0, 0] = 0
    if not measure.whole:
        values = torch.rand(shape, generator=generator).masked_fill(values == 0, torch.nan)
    there = _mean_of_rows(_Kept("self", 0, name, values)).numpy()
    here = _mean_of_array(values.numpy(), whole=measure.whole, of_threshold=measure.of_threshold)
    assert there.dtype == np.float64
    assert np.isnan(here[0, 0]).all()
    np.testing.assert_allclose(there, here, rtol=1e-14)
