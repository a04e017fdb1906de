"""Tasks of the writer: in order, not too many at a time, and kept where the caller's work fails."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from metastable.extraction import counting, departure, extract, extracting
from metastable.extraction.batches import suitable_batch_tokens
from metastable.extraction.counting import (
    Counter,
    _Counted,
    _Kept,
    _mean_of_array,
    _mean_of_rows,
    _Part,
    _queries_last,
)
from metastable.extraction.departure import HostMemory, Writer, depart, threads_beside
from metastable.extraction.store import Layout
from metastable.extraction.summarizing import RowOptions
from metastable.measures import measure_named
from metastable.models.encoders import wrap_model
from metastable.models.sites import Site
from tests.extraction.oracle import text_sequences
from tests.extraction.tiny_models import tiny_model


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


def test_memory_is_used_again_when_it_was_given_back():
    made = []

    def allocate(n_bytes):
        made.append(n_bytes)
        return torch.empty(n_bytes, dtype=torch.uint8)

    memory = HostMemory(allocate)
    first, second = memory.take(100), memory.take(100)
    assert first.data_ptr() != second.data_ptr()
    memory.give_back(first)
    again = memory.take(80)
    assert again is first
    assert made == [100, 100]
    # what is too small makes room
    memory.give_back(first)
    assert memory.take(200).numel() == 200
    memory.give_back(second)
    assert memory.take(100) is second
    assert made == [100, 100, 200]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 50)), max_size=40))
def test_no_two_have_the_same_memory(steps):
    memory, taken = HostMemory(lambda n_bytes: torch.empty(n_bytes, dtype=torch.uint8)), []
    for gives, number in steps:
        if gives and taken:
            memory.give_back(taken.pop(number % len(taken)))
        else:
            one = memory.take(number)
            assert one.numel() >= number
            assert all(one is not other for other in taken)
            taken.append(one)


def test_tensors_that_leave_through_memory_arrive_when_it_was_copied(monkeypatch):
    """As from a card: the copies are made when they are waited for."""
    monkeypatch.setattr(departure, "on_card", lambda _: True)
    monkeypatch.setattr(departure, "_copy_beside", copied_when_waited_for)
    memory = HostMemory(lambda n_bytes: torch.full((n_bytes,), 255, dtype=torch.uint8))
    tensors = [torch.arange(6).view(2, 3).to(torch.int16).T, torch.rand(4, dtype=torch.float64), torch.zeros(0, 3)]
    first, second = depart(tensors, memory), depart([2 * tensor for tensor in tensors], memory)
    for arrive, factor in ((second, 2), (first, 1)):
        for tensor, array in zip(tensors, arrive(), strict=True):
            np.testing.assert_array_equal(array, factor * tensor.numpy())
    first.release()
    third = depart([5 * tensor for tensor in tensors], memory)
    np.testing.assert_array_equal(third()[0], 5 * tensors[0].numpy())
    np.testing.assert_array_equal(second()[0], 2 * tensors[0].numpy())


def copied_when_waited_for(tensors, places):
    def wait():
        with torch.inference_mode():
            for tensor, place in zip(tensors, places, strict=True):
                place.copy_(tensor)

    return wait


class Overwritten(HostMemory):
    """Memory that is written over as soon as it is given back."""

    def __init__(self):
        super().__init__(lambda n_bytes: torch.empty(n_bytes, dtype=torch.uint8))

    def give_back(self, memory):
        with torch.inference_mode():
            memory.fill_(77)
        super().give_back(memory)


@pytest.mark.parametrize("keep", ["tokens", "means"])
@pytest.mark.parametrize("name", ["bert", "t5"])
def test_what_leaves_a_card_makes_the_same_cube(tmp_path, monkeypatch, name, keep):
    """As from a card: layers put together, means taken there, copies late, and memory used again at once."""
    sequences = text_sequences([3, 12, 5, 8, 4, 11, 3, 9, 7, 6, 10, 4])
    encoder = wrap_model(tiny_model(name))
    options = {"thresholds": (0.5, 0.9), "of_every_run": True, "keep": keep, "batch_tokens": 30}
    here = extract(encoder, sequences, path=tmp_path / "here.zarr", **options).dataset.load()
    for module in (departure, counting):
        monkeypatch.setattr(module, "on_card", lambda _: True)
    monkeypatch.setattr(departure, "_copy_beside", copied_when_waited_for)
    monkeypatch.setattr(counting, "HostMemory", Overwritten)
    monkeypatch.setattr(extracting, "threads_beside", lambda _: 3)
    there = extract(encoder, sequences, path=tmp_path / "there.zarr", **options).dataset.load()
    xr.testing.assert_allclose(there, here, rtol=1e-14)
    for measure in [] if keep == "means" else ["count", "share", "special_mass"]:
        xr.testing.assert_equal(there[measure], here[measure])


LAYOUT = Layout(
    identifiers=tuple("abcdefghi"),
    sites=("encoder", "cross"),
    layers=(1, 2, 4),
    n_heads=3,
    thresholds=(0.5, 0.9),
    n_tokens=6,
    max_count=300,
    measures=("share", "entropy"),
    block=9,
)
SITES = {"encoder": Site("encoder", 3, 3, layer_numbers=(1, 2, 4)), "cross": Site("cross", 2, 2, layer_numbers=(1, 4))}


@settings(deadline=None)
@given(st.permutations(range(9)), st.integers(0, 9), st.booleans(), st.integers(1, 4), st.integers(1, 6))
def test_rows_in_any_order_are_put_in_their_places(order, cut, in_order, n_threads, n_queries):
    """Every entry of a block is written: by the batch that has it, or as nothing."""
    rng = np.random.default_rng(0)
    arrays, expected = LAYOUT.unfilled_block(9), LAYOUT.empty_block(9)
    for values in arrays.values():
        values[...] = 99
    counter = Counter(SimpleNamespace(encoder=SimpleNamespace(sites=SITES.values())), LAYOUT, None, RowOptions(), 1)
    rows = np.arange(9) if in_order else np.array(order)
    with Writer(n_threads) as writer:
        for batch in (rows[:cut], rows[cut:]):
            parts, leaving = [], []
            for site in SITES.values() if len(batch) else []:
                for name in ("count", "share", "entropy") if site.name == "encoder" else ("count",):
                    thresholds = (2,) if measure_named(name).of_threshold else ()
                    shape = (len(batch), site.n_layers, site.n_heads, *thresholds, n_queries)
                    values = rng.integers(1, 9, shape).astype(np.int16 if name == "count" else np.float32)
                    parts.append(_Part(site.name, site.layer_numbers, name))
                    leaving += [torch.from_numpy(values), torch.from_numpy(values.mean(-1))]
                    for layer, number in enumerate(site.layer_numbers):
                        plane = (LAYOUT.sites.index(site.name), LAYOUT.layers.index(number))
                        for at, row in enumerate(batch):
                            expected[name][row][plane][: site.n_heads, ..., :n_queries] = values[at, layer]
                            expected[f"mean_{name}"][row][plane][: site.n_heads] = values[at, layer].mean(-1)
            if parts:
                counted = _Counted(depart(leaving), parts, rows_leave=True, averaged_there=True, checked=False)
                counter._keep_batch(arrays, batch, counted, writer)
    for name, values in expected.items():
        np.testing.assert_array_equal(arrays[name], values)


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
    here = _mean_of_array(_queries_last(name, values).numpy(), whole=measure.whole)
    assert there.dtype == np.float64
    assert np.isnan(here[0, 0]).all()
    np.testing.assert_allclose(there, here, rtol=1e-14)
