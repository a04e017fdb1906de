"""Models known without being loaded, and untrained ones of the same architecture."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metastable.errors import InputError
from metastable.models.encoders import hash_weights
from metastable.models.model_files import load_part, model_class, quiet_transformers, resolve_source, weight_files

__all__ = ["ModelIdentity", "identify", "write_sibling"]


@dataclass(frozen=True)
class ModelIdentity:
    """What a model is, as far as its files say.

    Attributes
    ----------
    architecture : str
        As transformers calls it: "bert", "mpnet".
    weights_hash : str
        That of the encoder which is loaded from them.
    """

    architecture: str
    weights_hash: str


def identify(model: str, revision: str | None = None) -> ModelIdentity:
    """Find out what a model is without loading it.

    Parameters
    ----------
    model : str
        As `metastable.models.encoders.load_encoder` takes it.
    revision : str, optional

    Returns
    -------
    ModelIdentity

    Raises
    ------
    InputError
        If there is no such model, or it has no safetensors weights.
    """
    from transformers import AutoConfig

    source = resolve_source(model, revision)
    with quiet_transformers():
        config = load_part(AutoConfig, source, "configuration")
        return ModelIdentity(str(config.model_type), hash_weights(config, weight_files(source)))


def write_sibling(model: str, revision: str | None, seed: int, folder: Path) -> None:
    """Write an untrained model of another's architecture, with the same tokenizer.

    Parameters
    ----------
    model, revision : str, str or None
        The other one.
    seed : int
        Of the random initialisation, which is that of the architecture in transformers.
    folder : Path
        Where it goes; one that is there is left as it is.

    Raises
    ------
    InputError
        If the other model's configuration or tokenizer cannot be read.
    """
    if (folder / "config.json").is_file():
        return
    import torch
    from transformers import AutoConfig, AutoTokenizer

    source = resolve_source(model, revision)
    with quiet_transformers():
        config = load_part(AutoConfig, source, "configuration")
        if getattr(config, "quantization_config", None) is not None:
            raise InputError(
                f"model {model!r} is quantized: there is no untrained network like it; leave out --siblings"
            )
        tokenizer = load_part(AutoTokenizer, source, "tokenizer")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = _initialised(model_class(config), config)
        # whole or not at all: a folder with a configuration is taken for a finished one
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        try:
            network.save_pretrained(temporary, safe_serialization=True)
            tokenizer.save_pretrained(temporary)
            temporary.chmod(0o755)
            temporary.replace(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _initialised(kind: Any, config: Any) -> Any:
    # of the automatic classes the way is public, of a model's own class it is not
    return kind.from_config(config) if hasattr(kind, "from_config") else kind(config)
