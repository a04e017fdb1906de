"""The language whose adapters a model reads with."""

from __future__ import annotations

from typing import Any

from metastable.errors import InputError

__all__ = ["choose_language"]

# Languages that an error names.
_SHOWN = 5


def choose_language(model: Any, model_id: str) -> None:
    """Have a model with adapters for each language (XMOD) read with those of its only one, if it names none.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        Any model; one of a single language is changed, unless it reads with that already.
    model_id : str
        What to call it in an error.

    Raises
    ------
    InputError
        If it has several languages, and its configuration does not say which of them to read.
    """
    languages = getattr(model.config, "languages", None)
    if not languages or not hasattr(model, "set_default_language") or model.config.default_language is not None:
        return
    if len(languages) > 1:
        shown = ", ".join(sorted(languages, key=lambda language: language != "en_XX")[:_SHOWN])
        more = f" and so on, {len(languages)} in all" if len(languages) > _SHOWN else ""
        raise InputError(
            f"model {model_id!r} has adapters for each language, and its config.json does not say which to read with; "
            f'save it to a folder and set "default_language" in its config.json to one of its languages ({shown}{more})'
        )
    model.set_default_language(languages[0])
