"""A model and its tokenizer, loaded from safetensors alone."""

from __future__ import annotations

import atexit
import hashlib
import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from metastable.errors import InputError
from metastable.models.devices import input_device, is_spread, resolve_device
from metastable.models.languages import choose_language
from metastable.models.model_files import (
    BUNDLED_MODEL,
    load_part,
    model_class,
    quiet_transformers,
    resolve_source,
    weight_files,
    weights_size,
    written_class,
)
from metastable.models.positions import UNLIMITED_LENGTH, attend_in_full, longest_text, read_more, skeleton
from metastable.models.sites import Site
from metastable.models.slow_tokens import count_pieces_slowly, trace_words
from metastable.models.towers import leave_decoder_out, lone_text_tower, text_tower

__all__ = [
    "BUNDLED_MODEL",
    "UNLIMITED_LENGTH",
    "Encoded",
    "Encoder",
    "Site",
    "Tokenizer",
    "fit_lengths",
    "hash_weights",
    "load_encoder",
    "load_tokenizer",
    "wrap_model",
]

_DTYPES = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Encoded:
    """A tokenized text.

    Attributes
    ----------
    text : str
        The text; of a pair, the first one.
    token_ids : tuple of int
        All tokens, special ones included.
    word_index : tuple of int
        For each token the word that it is a piece of, counted from 0 over the text and then its pair;
        -1 for a special token.
    segment_ids : tuple of int
        The segment (token type) of each token; empty where the model has none.
    special : tuple of bool
        Whether each token was added by the tokenizer.
    pair : str or None
        The second text.
    """

    text: str
    token_ids: tuple[int, ...]
    word_index: tuple[int, ...]
    segment_ids: tuple[int, ...]
    special: tuple[bool, ...]
    pair: str | None = None


@dataclass(frozen=True)
class Tokenizer:
    """A thin wrapper of a Hugging Face tokenizer that knows which word a token is a piece of.

    Attributes
    ----------
    model_id : str
        What it was loaded from.
    revision : str or None
        Revision of a hub id.
    backend : transformers.PreTrainedTokenizerBase
        The tokenizer itself. One without a fast version tokenizes the words in their context.
    max_length : int
        The most tokens, special ones included, that the model reads.
    has_segments : bool
        Whether the model tells the two texts of a pair apart by token types.
    read_more : str
        How the model is brought to read more tokens, as `metastable.models.positions.read_more` says it.
    """

    model_id: str
    revision: str | None
    backend: Any = field(repr=False, compare=False)
    max_length: int
    has_segments: bool = False
    read_more: str = ""

    def __post_init__(self) -> None:
        # "[SEP]" in a text is letters, and none of the tokens that the tokenizer adds
        self.backend.split_special_tokens = True

    @property
    def n_special(self) -> int:
        """Number of special tokens of a single text."""
        return int(self.backend.num_special_tokens_to_add(pair=False))

    @property
    def n_special_pair(self) -> int:
        """Number of special tokens of a pair of texts."""
        return int(self.backend.num_special_tokens_to_add(pair=True))

    @property
    def pad_id(self) -> int:
        """Id that fills a batch up; what it is does not matter, since padding is masked."""
        pad = self.backend.pad_token_id
        return int(pad) if pad is not None else int(self.backend.eos_token_id or 0)

    @property
    def unknown_id(self) -> int | None:
        """Id of what the vocabulary lacks; None where it lacks nothing."""
        unknown = self.backend.unk_token_id
        return None if unknown is None else int(unknown)

    def special_letters(self, text: str) -> tuple[str, ...]:
        """Return the names of special tokens, such as ``[SEP]``, that a text holds as letters."""
        return tuple(name for name in self.backend.all_special_tokens if name in text)

    def tokens(self, token_ids: Sequence[int]) -> tuple[str, ...]:
        """Spell the tokens as the vocabulary does."""
        return tuple(self.backend.convert_ids_to_tokens(list(token_ids)))

    def encode(self, text: str, pair: str | None = None) -> Encoded:
        """Tokenize a text, or a pair of texts, whose words are what white space separates."""
        return self.encode_words(text.split(), None if pair is None else pair.split(), text=text, pair_text=pair)

    def encode_words(
        self,
        words: Sequence[str],
        pair: Sequence[str] | None = None,
        *,
        text: str | None = None,
        pair_text: str | None = None,
    ) -> Encoded:
        """Tokenize words joined by one space and tell which word each token is a piece of.

        Parameters
        ----------
        words : sequence of str
            The words in reading order; a word may hold spaces ("baking soda").
        pair : sequence of str, optional
            The words of the second segment.
        text, pair_text : str, optional
            The texts that hold the words in this order, where they are not the words joined by one space.

        Returns
        -------
        Encoded

        Raises
        ------
        InputError
            If a word is not in its text.
        """
        text = " ".join(words) if text is None else text
        if pair is not None and pair_text is None:
            pair_text = " ".join(pair)
        output = self.backend(
            text,
            pair_text,
            return_offsets_mapping=self.backend.is_fast,
            return_special_tokens_mask=True,
            return_token_type_ids=self.has_segments,
            truncation=False,
            verbose=False,
        )
        ends = (_word_ends(words, text), _word_ends(pair or (), pair_text or ""))
        if self.backend.is_fast:
            word_index = _words_by_offset(output.sequence_ids(0), output["offset_mapping"], ends)
        else:
            texts = (text, pair_text or "")
            word_index = _words_by_context(self.backend, output["special_tokens_mask"], texts, ends)
        return Encoded(
            text=text,
            token_ids=tuple(output["input_ids"]),
            word_index=word_index,
            segment_ids=tuple(output.get("token_type_ids", ())),
            special=tuple(word < 0 for word in word_index),
            pair=pair_text,
        )

    def pieces(self, word: str) -> int:
        """Count the word pieces of a word that stands after another one (after a space)."""
        return self.count_pieces([word])[0]

    def count_pieces(self, words: Sequence[str]) -> list[int]:
        """Count the word pieces of each word, as `pieces` does, all at once."""
        if not words:
            return []
        if not self.backend.is_fast:
            return [count_pieces_slowly(self.backend, word) for word in words]
        # A word in front, since tokenizers write the first word of a text in their own way.
        texts = [f"a {word}" for word in words]
        output = self.backend(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return [sum(end > 1 for _, end in offsets) for offsets in output["offset_mapping"]]

    def count_tokens(self, words: Sequence[str]) -> list[int]:
        """Count the tokens of each word as a text of its own, special ones included, all at once."""
        if not words:
            return []
        output = self.backend(list(words), return_attention_mask=False, return_token_type_ids=False, verbose=False)
        return [len(token_ids) for token_ids in output["input_ids"]]


def _word_ends(words: Sequence[str], text: str) -> list[int]:
    """End of each word in the text, found from left to right."""
    ends: list[int] = []
    position = 0
    for word in words:
        start = text.find(word, position)
        if start < 0:
            raise InputError(f"word {word!r} is not in the text {text[:60]!r} in its order; give the words of the text")
        position = start + len(word)
        ends.append(position)
    return ends


def _words_by_offset(
    segments: Sequence[int | None], offsets: Sequence[tuple[int, int]], ends: Sequence[Sequence[int]]
) -> tuple[int, ...]:
    """Find the word of each token by where in the text the tokenizer found it."""
    starts = (0, len(ends[0]))
    return tuple(
        -1 if segment is None else starts[segment] + _word_of(offset, ends[segment])
        for segment, offset in zip(segments, offsets, strict=True)
    )


def _words_by_context(
    backend: Any,
    special: Sequence[int],
    texts: Sequence[str],
    ends: Sequence[Sequence[int]],
) -> tuple[int, ...]:
    """Find the word of each token by tokenizing the words again, each in its context."""
    starts = (0, len(ends[0]))
    traced = [
        start + word
        for start, text, ends_in_text in zip(starts, texts, ends, strict=True)
        for word in trace_words(backend, text, ends_in_text)
    ]
    if len(traced) != len(special) - sum(special):
        raise InputError(
            f"the tokenizer {type(backend).__name__} does not say which tokens it adds to {texts[0][:60]!r}, so its "
            "tokens cannot be traced to words; give a model with a tokenizer.json"
        )
    words = iter(traced)
    return tuple(-1 if added else next(words) for added in special)


def _word_of(offset: tuple[int, int], ends: Sequence[int]) -> int:
    """Word that a token belongs to; a token that is a space alone belongs to the word after it."""
    start, end = offset
    last = max(start, end - 1)
    return min(bisect_right(ends, last), len(ends) - 1)


@dataclass(frozen=True)
class Encoder:
    """A model ready to have its attention counted.

    Attributes
    ----------
    model_id : str
        What it was loaded from.
    revision : str or None
        Revision of a hub id.
    model : torch.nn.Module
        In evaluation mode, on `device`.
    tokenizer : Tokenizer or None
        None for a model that reads no text.
    sites : tuple of Site
        Its stacks of attention layers.
    weights_hash : str
        SHA-256 of the weight files (of the tensors, where the model was given as an object) and of the
        configuration.
    device : str
        ``"cpu"``, ``"cuda"`` (``"cuda:1"`` where processes share a host) or ``"mps"``; of a model that is
        spread over several, the one that takes its input.
    dtype : str
        Type of the weights; the softmax is float32 whatever it is.
    max_length : int
        The most tokens that the model reads.
    way : {"interface", "eager"}
        How its attention is reached.
    way_reason : str
        Why that way was taken.
    pads : bool
        Whether padding leaves the attention of the other tokens as it is, so that sequences of unequal
        length can be read together.
    values_reason : str
        Why the values that the weights are multiplied with cannot be had; empty where they can.
    needs : tuple of str
        Inputs beside the tokens that the forward pass cannot do without, such as ``"pixel_values"``.
    has_sink : bool
        Whether a learned sink takes part in its softmax, which is no key.
    fitted : frozenset of int
        The lengths at which `fit_lengths` has probed it; none as it was loaded.
    """

    model_id: str
    revision: str | None
    model: Any = field(repr=False, compare=False)
    tokenizer: Tokenizer | None
    sites: tuple[Site, ...]
    weights_hash: str
    device: str
    dtype: str
    max_length: int
    way: Literal["interface", "eager"]
    way_reason: str
    pads: bool = True
    values_reason: str = ""
    needs: tuple[str, ...] = ()
    has_sink: bool = False
    fitted: frozenset[int] = field(default=frozenset(), compare=False)

    @property
    def gives_values(self) -> bool:
        """Whether what its weights are multiplied with is seen."""
        return not self.values_reason


def load_tokenizer(model: str = BUNDLED_MODEL, *, revision: str | None = None) -> Tokenizer:
    """Load a tokenizer alone, without the model's weights.

    Parameters
    ----------
    model : str
        `BUNDLED_MODEL`, a folder, or a Hugging Face id.
    revision : str, optional
        Branch, tag or commit of a Hugging Face id.

    Returns
    -------
    Tokenizer

    Raises
    ------
    InputError
        If there is no such model, or it has no tokenizer.
    """
    from transformers import AutoConfig, AutoTokenizer

    source = resolve_source(model, revision)
    with quiet_transformers():
        config = load_part(AutoConfig, source, "configuration")
        backend = load_part(AutoTokenizer, source, "tokenizer")
        length = longest_text(config, skeleton(config))
    return _wrap_tokenizer(backend, config, length, source.model_id, source.revision)


def load_encoder(
    model: str = BUNDLED_MODEL, *, revision: str | None = None, device: str = "auto", dtype: str = "float32"
) -> Encoder:
    """Load a model with its tokenizer and find its attention sites.

    Parameters
    ----------
    model : str
        `BUNDLED_MODEL`, a folder, or a Hugging Face id; weights in safetensors, and no code of the model's
        own is run. Nothing but a Hugging Face id uses the network.
    revision : str, optional
        Branch, tag or commit of a Hugging Face id.
    device : {"auto", "cpu", "cuda", "mps"}
        ``"auto"`` takes the accelerator where there is one. A model that it does not hold is spread over all
        accelerators, host memory and disk by the package accelerate.
    dtype : {"float32", "float16", "bfloat16"}
        Type of the weights.

    Returns
    -------
    Encoder

    Raises
    ------
    InputError
        If there is no such model, device or type, if weights are missing, if the model is too large and
        accelerate is not installed, or if it has no softmax attention.
    """
    import torch
    from transformers import AutoConfig, AutoTokenizer

    if dtype not in _DTYPES:
        raise InputError(f"dtype {dtype!r} is unknown; choose one of {', '.join(_DTYPES)}")
    place = resolve_device(device)
    source = resolve_source(model, revision)
    with quiet_transformers():
        config = load_part(AutoConfig, source, "configuration")
        files_of_weights = weight_files(source)
        options: dict[str, Any] = {
            "config": config,
            "use_safetensors": True,
            "attn_implementation": "eager",
            "dtype": getattr(torch, dtype),
            "output_loading_info": True,
            **_placing(source.model_id, config, files_of_weights, getattr(torch, dtype).itemsize, place),
        }
        network, info = load_part(model_class(config), source, "weights", **options)
        written = written_class(config)
        if _missing(info) and written is not None:
            # The base model is not always part of what was written: DPR has two encoders, BART may be a decoder alone.
            network, info = load_part(written, source, "weights", **options)
        reads_text = getattr(config.get_text_config(), "vocab_size", None) is not None
        tokenizer = (
            _wrap_tokenizer(
                load_part(AutoTokenizer, source, "tokenizer"),
                config,
                longest_text(config, network),
                source.model_id,
                source.revision,
            )
            if reads_text
            else None
        )
    missing = _missing(info)
    if missing:
        raise InputError(
            f"the weights of model {model!r} lack {len(missing)} tensors, the first {missing[0]!r}, so its "
            "attention would be random; give a complete model"
        )
    digest = hash_weights(config, files_of_weights)
    return _finish(network, tokenizer, source.model_id, source.revision, digest, place, dtype)


def _missing(info: dict[str, Any]) -> list[str]:
    """Tensors that the weights lack, but for those of a pooler, which attends to nothing."""
    return sorted(key for key in info["missing_keys"] if "pooler" not in key)


def _placing(
    model_id: str, config: Any, files_of_weights: Sequence[Path], bytes_each: int, device: str
) -> dict[str, Any]:
    """Say how `from_pretrained` is to place a model that is not simply moved to its device."""
    if getattr(config, "quantization_config", None) is not None:
        # Quantized weights are made on the device where they stay.
        return {} if device == "cpu" else {"device_map": {"": device}}
    if not is_spread(model_id, weights_size(files_of_weights, bytes_each), device):
        return {}
    folder = TemporaryDirectory(prefix="metastable-weights-")
    atexit.register(folder.cleanup)
    return {"device_map": "auto", "offload_folder": folder.name}


def wrap_model(
    model: Any,
    tokenizer: Tokenizer | None = None,
    *,
    model_id: str = "model",
    device: str = "cpu",
    way: Literal["auto", "interface", "eager"] = "auto",
) -> Encoder:
    """Make an encoder of a transformers model that is already in memory.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        Any base model; it is moved to `device` and put into evaluation mode.
    tokenizer : Tokenizer, optional
        Its tokenizer, where sequences are to be made with it.
    model_id : str
        What to call it.
    device : {"auto", "cpu", "cuda", "mps"}
        Where it runs.
    way : {"auto", "interface", "eager"}
        How its attention is reached; ``"auto"`` takes the interface where it gives what eager gives.

    Returns
    -------
    Encoder
    """
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    digest = _combine_hashes(_hash_config(model.config), _hash_tensors(model.state_dict()))
    return _finish(model, tokenizer, model_id, None, digest, resolve_device(device), dtype, way=way)


def _wrap_tokenizer(backend: Any, config: Any, length: int, model_id: str, revision: str | None) -> Tokenizer:
    # Without its files, transformers makes a tokenizer that knows nothing but special tokens.
    if len(backend) < len(set(backend.all_special_ids)) + 3:
        raise InputError(
            f"model {model_id!r} has no tokenizer files; save its tokenizer in the same folder, with save_pretrained"
        )
    length = min(length, int(min(backend.model_max_length, UNLIMITED_LENGTH)))
    return Tokenizer(
        model_id=model_id,
        revision=revision,
        backend=backend,
        max_length=length,
        # Not what the tokenizer gives unasked: ALBERT's does not give the types that the model was trained with.
        has_segments=getattr(config.get_text_config(), "type_vocab_size", 0) > 1,
        read_more=read_more(config, length),
    )


def _finish(
    network: Any,
    tokenizer: Tokenizer | None,
    model_id: str,
    revision: str | None,
    digest: str,
    device: str,
    dtype: str,
    way: Literal["auto", "interface", "eager"] = "auto",
) -> Encoder:
    from metastable.models.probing import probe

    is_placed = hasattr(network, "hf_device_map") or getattr(network, "hf_quantizer", None) is not None
    network = text_tower(network).eval()
    if is_placed:
        device = input_device(network)
    else:
        network.to(device)
    attend_in_full(network)
    leave_decoder_out(network)
    choose_language(network, model_id)
    try:
        found = probe(network, model_id, way=way)
    except InputError as error:
        # Of towers side by side the one of images may be what cannot be read (SigLIP 2 takes them in patches).
        tower = lone_text_tower(network)
        if tower is None:
            raise
        network, found = tower, probe(tower, model_id, way=way)
        found = replace(found, reason=f"{found.reason}, of the text tower alone, since {error}")
    length = longest_text(network.config, network)
    return Encoder(
        model_id=model_id,
        revision=revision,
        model=network,
        tokenizer=tokenizer,
        sites=found.sites,
        weights_hash=digest,
        device=device,
        dtype=dtype,
        max_length=length if tokenizer is None else min(length, tokenizer.max_length),
        way=found.way,
        way_reason=found.reason,
        pads=found.pads,
        values_reason=found.values_reason,
        needs=found.needs,
        has_sink=found.has_sink,
    )


def fit_lengths(encoder: Encoder, lengths: Sequence[int]) -> Encoder:
    """Probe an encoder again at the lengths of the sequences that it is to read.

    Parameters
    ----------
    encoder : Encoder
        As it was loaded.
    lengths : sequence of int
        Tokens of each sequence.

    Returns
    -------
    Encoder
        The same model; `way`, `way_reason` and `pads` are those that hold at these lengths. One that was probed at
        just these lengths is returned as it is.

    Raises
    ------
    InputError
        If the model cannot be read at the longest.
    """
    from metastable.models.probing import Probe, probe_lengths

    wanted = frozenset(lengths)
    if wanted == encoder.fitted:
        return encoder
    known = Probe(
        encoder.sites,
        encoder.way,
        encoder.way_reason,
        encoder.pads,
        encoder.values_reason,
        encoder.needs,
        encoder.has_sink,
    )
    found = probe_lengths(encoder.model, encoder.model_id, known, lengths)
    return replace(encoder, way=found.way, way_reason=found.reason, pads=found.pads, fitted=wanted)


def hash_weights(config: Any, files_of_weights: Sequence[Path]) -> str:
    """Hash a model by its files, as `Encoder.weights_hash` has it.

    Parameters
    ----------
    config : transformers.PreTrainedConfig
    files_of_weights : sequence of Path

    Returns
    -------
    str
        SHA-256 in hexadecimal digits.
    """
    return _combine_hashes(_hash_config(config), *(_hash_file(path) for path in files_of_weights))


def _hash_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _hash_config(config: Any) -> str:
    """Hash what the configuration says of the model; not where it came from, nor which library wrote it."""
    ignored = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures"}
    content = {key: value for key, value in config.to_dict().items() if key not in ignored}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _hash_tensors(state: dict[str, Any]) -> str:
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _combine_hashes(*hashes: str) -> str:
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()
