"""Frozen dataclasses as JSON: written by their fields, and read back only where every type fits."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from metastable.errors import InputError

__all__ = ["plain", "typed"]

_KINDS = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple: "a list",
    Mapping: "a table of names and values",
}


def plain(value: Any) -> Any:
    """Return a value as JSON holds it.

    Parameters
    ----------
    value : object
        A dataclass becomes an object of its fields, or what its method ``to_json`` returns; a tuple becomes a list,
        and what JSON does not know becomes a string.

    Returns
    -------
    object

    Examples
    --------
    >>> from pathlib import Path
    >>> plain({"threshold": (0.9, 0.5), "out": Path("reports"), "revision": None})
    {'threshold': [0.9, 0.5], 'out': 'reports', 'revision': None}
    """
    if hasattr(value, "to_json"):
        return value.to_json()
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _unlike(kind: Any, value: Any, key: str) -> InputError:
    shown = repr(value)
    return InputError(f"holds {shown if len(shown) < 40 else f'{shown[:40]}…'} as {key!r}, which is not {_KINDS[kind]}")


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _one_of(kinds: tuple[Any, ...], value: Any, key: str) -> Any:
    if value is None and types.NoneType in kinds:
        return None
    return typed(next(kind for kind in kinds if kind is not types.NoneType), value, key)


def _fields(kind: type[Any], value: Any, key: str) -> Any:
    if key and not isinstance(value, dict):
        raise _unlike(Mapping, value, key)
    # a file that holds no object lacks the first of its keys
    data = value if isinstance(value, dict) else {}
    hints, found = get_type_hints(kind), {}
    for one in fields(kind):
        place = f"{key}.{one.name}" if key else one.name
        if one.name in data:
            found[one.name] = typed(hints[one.name], data[one.name], place)
        elif one.default is MISSING and one.default_factory is MISSING:
            raise InputError(f"lacks {place!r}")
    if hasattr(kind, "of"):
        return kind.of({**{name: _frozen(item) for name, item in data.items()}, **found})
    return kind(**found)


def typed(kind: Any, value: Any, key: str = "") -> Any:
    """Return what JSON holds as a value of a type.

    Parameters
    ----------
    kind : type
        A dataclass, whose further keys are ignored, or are given to its class method ``of`` where it has one; or
        ``str, int, float, bool``, ``tuple[X, ...]``, ``Mapping[str, X]``, ``X | None``, ``Literal`` or ``Any``.
    value : object
        As `json.loads` returns it.
    key : str
        Where it stands, for the message.

    Returns
    -------
    object

    Raises
    ------
    InputError
        If a key is missing or a value has another type: what is wrong, for a sentence that begins with the file.

    Examples
    --------
    >>> typed(tuple[float, ...], [0.9, 1])
    (0.9, 1.0)
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return _frozen(value)
    if origin in (Union, types.UnionType):
        return _one_of(arguments, value, key)
    if origin is Literal:
        if value not in arguments:
            raise InputError(f"holds {value!r} as {key!r}, which is none of {', '.join(map(str, arguments))}")
        return value
    if is_dataclass(kind) and isinstance(kind, type):
        return _fields(kind, value, key)
    if origin is tuple:
        if not isinstance(value, list):
            raise _unlike(tuple, value, key)
        return tuple(typed(arguments[0], item, f"{key}.{place}") for place, item in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, dict):
            raise _unlike(Mapping, value, key)
        return {name: typed(arguments[1], item, f"{key}.{name}") for name, item in value.items()}
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise _unlike(kind, value, key)
    return kind(value)
