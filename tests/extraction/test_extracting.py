"""A run that is cut short, repeated, damaged or changed; memory that runs out; input that is bad."""

from __future__ import annotations

import errno
import os
import tracemalloc
from collections.abc import Sequence as SequenceOf
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from metastable.errors import InputError
from metastable.extraction import Extraction, extract, load_counts
from metastable.extraction import counting as counting_module
from metastable.extraction import extracting as extracting_module
from metastable.extraction import places as places_module
from metastable.extraction import store as store_module
from metastable.extraction.keys import extraction_key
from metastable.extraction.store import CountStore, open_store
from metastable.extraction.summarizing import RowOptions
from metastable.heads.cube import feature_table
from metastable.models.capture import ForwardError
from metastable.models.encoders import Encoder, wrap_model
from metastable.study import Sequence
from tests.extraction.oracle import features_for, image_sequences, text_sequences
from tests.extraction.tiny_models import tiny_model


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return wrap_model(tiny_model("bert"), model_id="tiny")


@pytest.fixture(autouse=True, params=["host", "card"])
def of_device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test holds of a device that computes while the host does, too, as a card does."""
    monkeypatch.setattr(extracting_module, "runs_ahead", lambda _device: request.param == "card")
    return str(request.param)


SEQUENCES = text_sequences([8] * 23)
MIXED = text_sequences([3, 12, 5, 8, 4, 11, 3, 9, 7, 6, 10, 4])


def _run(encoder: Encoder, path: Path, sequences: SequenceOf[Sequence] = SEQUENCES, **options: Any) -> Extraction:
    return extract(encoder, sequences, path=path / "counts.zarr", **{"batch_tokens": 40, **options})


def test_layers_are_labelled_by_their_numbers_in_the_model(tmp_path: Path) -> None:
    """As if the encoder of T5 were a hybrid whose second and fourth layer attend."""
    plain = wrap_model(tiny_model("t5"))
    sites = tuple(replace(site, layer_numbers=(2, 4)) if site.name == "encoder" else site for site in plain.sites)
    hybrid = replace(plain, sites=sites)
    assert extraction_key(plain, SEQUENCES, thresholds=(0.9,)) != extraction_key(hybrid, SEQUENCES, thresholds=(0.9,))
    of_plain = _run(plain, tmp_path / "plain").dataset
    of_hybrid = _run(hybrid, tmp_path / "hybrid").dataset
    assert of_plain["layer"].to_numpy().tolist() == [1, 2, 3]
    assert of_hybrid["layer"].to_numpy().tolist() == [1, 2, 3, 4]
    for site, numbers in (("encoder", {1: 2, 2: 4}), ("decoder", {1: 1, 2: 2, 3: 3}), ("cross", {1: 1, 2: 2, 3: 3})):
        for before, number in numbers.items():
            xr.testing.assert_equal(
                of_hybrid["count"].sel(site=site, layer=number, drop=True),
                of_plain["count"].sel(site=site, layer=before, drop=True),
            )
    features = feature_table(of_hybrid)
    found = {site: rows["layer"].unique().tolist() for site, rows in features.groupby("site")}
    assert found == {"encoder": [2, 4], "decoder": [1, 2, 3], "cross": [1, 2, 3]}


def _names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


class _Killed(BaseException):
    """Stands for a signal in the middle of a run."""


def _kill_after(number: int) -> Any:
    def callback(done: int, total: int) -> None:
        if done >= number:
            raise _Killed

    return callback


def test_a_killed_run_goes_on_from_its_last_whole_block(encoder: Encoder, tmp_path: Path) -> None:
    whole = _run(encoder, tmp_path / "whole").dataset.load()
    killed = tmp_path / "killed"
    with pytest.raises(_Killed):
        _run(encoder, killed, callback=_kill_after(15))
    assert "counts.zarr" not in _names(killed)
    progress: list[tuple[int, int]] = []
    result = _run(encoder, killed, callback=lambda done, total: progress.append((done, total)))
    # Blocks of 5 sequences; the third was counted when the kill came but not yet written.
    assert result.n_resumed == 10
    assert not result.reused
    assert progress[0] == (10, 23)
    assert progress[-1] == (23, 23)
    assert result.dataset.load().equals(whole)
    assert _names(killed) == ["counts.zarr"]


def test_an_interrupt_from_the_keyboard_leaves_a_state_to_resume(encoder: Encoder, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done >= 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run(encoder, tmp_path, callback=interrupt)
    assert _run(encoder, tmp_path).n_resumed == 10
    assert encoder.model.config._attn_implementation == "eager"


@pytest.mark.parametrize("begun", [False, True])
def test_a_card_has_its_first_batch_before_the_store_is_looked_for(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_device: str, begun: bool
) -> None:
    if begun:
        with pytest.raises(_Killed):
            _run(encoder, tmp_path, callback=_kill_after(15))
    done: list[str] = []

    def told(name: str, function: Any) -> Any:
        def tell(*args: Any) -> Any:
            done.append(name)
            return function(*args)

        return tell

    monkeypatch.setattr(counting_module.Counter, "_count_batch", told("batch", counting_module.Counter._count_batch))
    monkeypatch.setattr(places_module, "_survey", told("survey", places_module._survey))
    assert _run(encoder, tmp_path).n_resumed == (10 if begun else 0)
    assert done.index("survey") == (1 if of_device == "card" and not begun else 0)
    assert done.count("survey") == 1
    assert done.count("batch") == (3 if begun else 5)


def test_another_batch_size_resumes_the_same_cube(encoder: Encoder, tmp_path: Path) -> None:
    with pytest.raises(_Killed):
        _run(encoder, tmp_path, callback=_kill_after(15))
    assert _run(encoder, tmp_path, batch_tokens=160).n_resumed == 10


def test_a_finished_cube_is_reused(encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _run(encoder, tmp_path)
    assert not first.reused
    content = first.dataset.load()

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a batch was counted")

    monkeypatch.setattr(counting_module.Counter, "count_block", refuse)
    again = _run(encoder, tmp_path, batch_tokens=8)
    assert again.reused
    assert again.n_resumed == 0
    assert again.key == first.key
    assert again.dataset.load().equals(content)


def test_a_damaged_chunk_of_a_finished_cube_is_computed_anew(encoder: Encoder, tmp_path: Path) -> None:
    content = _run(encoder, tmp_path).dataset.load()
    chunk = next(file for file in (tmp_path / "counts.zarr" / "count" / "c" / "2").rglob("*") if file.is_file())
    damaged = bytearray(chunk.read_bytes())
    damaged[10] ^= 255
    chunk.write_bytes(bytes(damaged))
    result = _run(encoder, tmp_path)
    assert not result.reused
    assert result.n_resumed == 18
    assert result.dataset.load().equals(content)


def _other_weights(encoder: Encoder) -> Encoder:
    return wrap_model(tiny_model("bert", seed=1), model_id="tiny")


@pytest.mark.parametrize(
    "change",
    ["weights", "tokens", "words", "identifier", "thresholds", "queries", "keys", "unit", "measures", "dtype"],
)
def test_a_changed_input_never_reuses_a_cube(encoder: Encoder, tmp_path: Path, change: str) -> None:
    first = _run(encoder, tmp_path)
    sequences, options = list(SEQUENCES), {}
    if change == "weights":
        encoder = _other_weights(encoder)
    elif change == "dtype":
        encoder = wrap_model(tiny_model("bert").to(torch.bfloat16), model_id="tiny")
    elif change == "tokens":
        sequences[3] = replace(sequences[3], token_ids=(1, 9, *sequences[3].token_ids[2:]))
    elif change == "words":
        sequences[3] = replace(sequences[3], word_index=(-1, 0, 1, 2, 3, 4, 5, -1))
    elif change == "identifier":
        sequences[3] = replace(sequences[3], identifier="other")
    else:
        options = {
            "thresholds": {"thresholds": (0.9, 0.95)},
            "queries": {"queries": "words"},
            "keys": {"keys": "words"},
            "unit": {"unit": "words"},
            "measures": {"measures": ("count", "entropy")},
        }[change]
    second = _run(encoder, tmp_path, sequences, **options)
    assert second.key != first.key
    assert not second.reused
    assert second.n_resumed == 0
    assert load_counts(tmp_path / "counts.zarr").attrs["key"] == second.key


def test_the_old_cube_stands_until_the_new_one_is_whole(encoder: Encoder, tmp_path: Path) -> None:
    old = _run(encoder, tmp_path).dataset.load()
    with pytest.raises(_Killed):
        _run(encoder, tmp_path, thresholds=(0.5,), callback=_kill_after(15))
    assert load_counts(tmp_path / "counts.zarr").load().equals(old)
    assert _run(encoder, tmp_path, thresholds=(0.5,)).n_resumed == 10
    assert _names(tmp_path) == ["counts.zarr"]


def test_a_run_that_was_killed_between_two_renamings_finds_its_cube(encoder: Encoder, tmp_path: Path) -> None:
    first = _run(encoder, tmp_path)
    place, former = tmp_path / "counts.zarr", tmp_path / ".counts-former.zarr"
    place.rename(former)
    again = _run(encoder, tmp_path)
    assert (again.reused, again.key) == (True, first.key)
    assert _names(tmp_path) == ["counts.zarr"]
    # Where a cube stands, what was put aside is not put in its place.
    former.mkdir()
    assert _run(encoder, tmp_path).reused


def test_other_features_are_counted_anew(tmp_path: Path) -> None:
    encoder, images = wrap_model(tiny_model("clip")), image_sequences(3)
    features = features_for("clip", 3)
    found = [_run(encoder, tmp_path, images, features=one) for one in (features, features)]
    assert [one.reused for one in found] == [False, True]
    more = {name: values + 1 for name, values in features.items()}
    assert not _run(encoder, tmp_path, images, features=more).reused


def test_the_key_tells_features_apart(encoder: Encoder) -> None:
    keys = {
        extraction_key(encoder, SEQUENCES, thresholds=[0.9], options=RowOptions(), features=features)
        for features in (None, {"x": np.zeros((23, 2))}, {"x": np.ones((23, 2))}, {"y": np.zeros((23, 2))})
    }
    assert len(keys) == 4


def test_batches_of_mixed_lengths_give_the_counts_of_each_alone(encoder: Encoder, tmp_path: Path) -> None:
    together = _run(encoder, tmp_path / "a", MIXED, batch_tokens=60).dataset.load()
    alone = _run(encoder, tmp_path / "b", MIXED, batch_tokens=1).dataset.load()
    assert float((together["count"] != alone["count"]).mean()) < 1e-3


def test_a_block_is_one_batch_of_sequences_of_one_length_and_four_of_mixed_ones(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def block(name: str, sequences: SequenceOf[Sequence], batch_tokens: int) -> int:
        _run(encoder, tmp_path / name, sequences, batch_tokens=batch_tokens)
        store = open_store(tmp_path / name / "counts.zarr")
        assert store is not None
        return store.block

    assert block("even", SEQUENCES, 40) == 40 // 8
    assert block("mixed", MIXED, 12) == int(4 * 12 / np.mean([len(sequence.token_ids) for sequence in MIXED]))
    # no larger than so many bytes
    cube = load_counts(tmp_path / "even" / "counts.zarr")
    each = sum(values.nbytes for values in cube.data_vars.values()) // len(SEQUENCES)
    monkeypatch.setattr(extracting_module, "_BLOCK_BYTES", 3 * each - 1)
    assert block("large", SEQUENCES, 40) == 2


def test_batches_back_off_when_memory_runs_out(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = _run(encoder, tmp_path / "a", MIXED).dataset["count"].load()
    count_batch = counting_module.Counter._count_batch
    sizes: list[int] = []

    def tight(self: Any, start: int, rows: Any) -> Any:
        tokens = len(rows) * int(self._lengths[start + rows].max())
        if tokens > 40:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(tokens)
        return count_batch(self, start, rows)

    monkeypatch.setattr(counting_module.Counter, "_count_batch", tight)
    result = _run(encoder, tmp_path / "b", MIXED, batch_tokens=200)
    assert result.batch_tokens <= 40
    assert max(sizes) > 20
    assert float((result.dataset["count"] != expected).mean()) < 1e-3


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")],
)
def test_a_sequence_that_memory_does_not_hold_is_named(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*args: Any) -> None:
        raise error

    monkeypatch.setattr(counting_module.Counter, "_count_batch", full)
    with pytest.raises(InputError, match="memory does not hold the attention of sequence 's1' with its 12"):
        _run(encoder, tmp_path, MIXED)


def test_other_errors_are_not_taken_for_a_lack_of_memory(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(counting_module.Counter, "_count_batch", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        _run(encoder, tmp_path)


@pytest.mark.parametrize(
    ("sequences", "options", "message"),
    [
        ([], {}, "no sequences"),
        (SEQUENCES[:1] * 2, {}, "'s0' is there twice"),
        (text_sequences([65]), {}, "has 65 tokens but model 'tiny' reads at most 64"),
        ([replace(SEQUENCES[0], token_ids=(1, 60, 2), word_index=(-1, 0, -1))], {}, "token id 60"),
        (
            [replace(SEQUENCES[0], token_ids=(1, -1, 2), word_index=(-1, 0, -1))],
            {},
            "token id -1 .* has 60 tokens, from 0",
        ),
        ([replace(SEQUENCES[0], token_ids=(), word_index=())], {}, "has no tokens"),
        (SEQUENCES, {"thresholds": (1.5,)}, "threshold 1.5"),
        (SEQUENCES, {"batch_tokens": 0}, "batch_tokens is 0"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    encoder: Encoder, tmp_path: Path, sequences: list[Sequence], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        _run(encoder, tmp_path, sequences, **options)
    assert not _names(tmp_path)


def test_a_place_that_cannot_be_written_is_named(encoder: Encoder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        _run(encoder, tmp_path / "file")
    (tmp_path / "counts.zarr").write_text("")
    with pytest.raises(InputError, match="is a file"):
        _run(encoder, tmp_path)
    assert (tmp_path / "counts.zarr").is_file()


def test_a_disk_that_fills_up_while_the_next_block_is_counted_is_told_and_made_good(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _run(encoder, tmp_path / "whole").dataset.load()
    write = CountStore.write_array

    def full(self: CountStore, block: slice, name: str, values: Any) -> None:
        if block.start == 5 and name == "mean_count":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(self, block, name, values)

    with monkeypatch.context() as patched:
        patched.setattr(CountStore, "write_array", full)
        with pytest.raises(InputError, match=r"cannot be written to .* \(No space left on device\); make room and run"):
            _run(encoder, tmp_path)
    again = _run(encoder, tmp_path)
    assert again.n_resumed == 5
    assert again.dataset.load().equals(whole)
    store = open_store(tmp_path / "counts.zarr")
    assert store is not None
    assert store.damage() == ""


def test_a_block_without_its_digests_is_counted_again(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _run(encoder, tmp_path / "whole").dataset.load()
    writes = CountStore.write_digests

    def cut_short(self: CountStore, block: slice) -> None:
        if block.start == 5:
            raise _Killed
        writes(self, block)

    with monkeypatch.context() as patched:
        patched.setattr(CountStore, "write_digests", cut_short)
        with pytest.raises(_Killed):
            _run(encoder, tmp_path)
    again = _run(encoder, tmp_path)
    assert again.n_resumed == 5
    assert again.dataset.load().equals(whole)


def test_a_run_does_not_read_again_what_it_wrote_or_found_whole(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    digests = store_module.digests_of

    def counted(path: Path, arrays: Any, numbers: Any) -> Any:
        read.extend(numbers := list(numbers))
        return digests(path, arrays, numbers)

    monkeypatch.setattr(store_module, "digests_of", counted)
    _run(encoder, tmp_path)
    assert read == []
    assert _run(encoder, tmp_path).reused
    assert read == [0, 1, 2, 3, 4]
    load_counts(tmp_path / "counts.zarr")
    assert read == [0, 1, 2, 3, 4] * 2


def test_the_recipe_is_recorded(encoder: Encoder, tmp_path: Path) -> None:
    result = _run(encoder, tmp_path, queries="words")
    attributes = result.dataset.attrs
    assert attributes["key"] == result.key
    assert attributes["weights_sha256"] == encoder.weights_hash
    assert attributes["capture"] == "interface"
    assert attributes["queries"] == "words"


def test_memory_does_not_grow_with_the_number_of_sequences(encoder: Encoder, tmp_path: Path) -> None:
    thresholds = (0.5, 0.6, 0.7, 0.8, 0.9)
    peaks = []
    for number in (80, 80, 800):  # the first run pays for what is made once
        sequences = text_sequences([40] * number)
        tracemalloc.start()
        _run(encoder, tmp_path / str(len(peaks)), sequences, thresholds=thresholds, batch_tokens=2000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    cube = 800 * 3 * 4 * len(thresholds) * (40 + 8)
    assert peaks[2] - peaks[1] < cube / 4


def test_a_cube_of_means_holds_the_means_and_no_tokens(encoder: Encoder, tmp_path: Path) -> None:
    measures = ["count_contributions", "special_mass", "entropy"]
    whole = _run(encoder, tmp_path / "a", MIXED, measures=measures)
    means = _run(encoder, tmp_path / "b", MIXED, measures=measures, keep="means")
    assert means.key != whole.key
    assert set(means.dataset.data_vars) == {f"mean_{name}" for name in ("count", *measures)}
    assert means.dataset.attrs["keep"] == "means"
    for name in means.dataset.data_vars:
        assert means.dataset[name].equals(whole.dataset[name])
    assert _run(encoder, tmp_path / "b", MIXED, measures=measures, keep="means").reused
    for chunk in (tmp_path / "b" / "counts.zarr" / "mean_count" / "c").rglob("*"):
        if chunk.is_file():
            chunk.unlink()
            break
    again = _run(encoder, tmp_path / "b", MIXED, measures=measures, keep="means")
    assert not again.reused
    assert again.dataset["mean_count"].equals(whole.dataset["mean_count"])
    with pytest.raises(InputError, match="keep 'words' is unknown; choose one of tokens, means"):
        _run(encoder, tmp_path / "c", MIXED, keep="words")


def test_a_run_says_what_measured_the_rows(encoder: Encoder, tmp_path: Path) -> None:
    assert _run(encoder, tmp_path / "a", MIXED).kernel == "compiled: the rows are on the CPU"
    assert _run(encoder, tmp_path / "b", MIXED, keys="words").kernel.startswith("whole weights: not all that is asked")


def test_sequences_that_a_model_reads_alone_and_not_together_are_named() -> None:
    def read(rows: np.ndarray, _: object) -> None:
        if len(rows) > 1:
            raise ForwardError("no room")

    reader = SimpleNamespace(
        encoder=SimpleNamespace(model_id="tiny"), sequences=SEQUENCES[:5], read=read,
        batch=lambda rows: SimpleNamespace(inputs=rows),
    )  # fmt: skip
    names = [repr(sequence.identifier) for sequence in SEQUENCES[:5]]
    of_one = SimpleNamespace(**{**vars(reader), "read": lambda rows, _: read(rows if rows[0] != 3 else [3, 3], _)})
    said = str(extracting_module._failure(of_one, slice(2, 5), ForwardError("no room")))
    assert f"cannot read sequence {names[3]} with its 8 tokens: no room; leave it out" in said
    for block in (slice(0, 3), slice(2, 5)):
        said = str(extracting_module._failure(reader, block, ForwardError("no room")))
        together = f"cannot read sequences {names[block.start]} to {names[block.stop - 1]} together, though each alone"
        assert f"{together}: no room; give a smaller batch_tokens" in said
