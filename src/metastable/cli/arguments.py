"""Parsers made from the options that a study declares."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from metastable.errors import InputError
from metastable.study import Option, Study
from metastable.study.options import parse_option
from metastable.study.own_options import options_of

__all__ = ["Parser", "add_options", "read_options", "study_parser"]


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `InputError` instead of printing a usage block."""

    def error(self, message: str) -> NoReturn:
        """Raise the complaint as an `InputError` that says where the options are listed."""
        raise InputError(f"{message} ({self.prog} --help shows the options)")


def _default_text(option: Option) -> str:
    if option.kind is bool:
        return ""
    if option.default is None or option.default == ():
        return " (default: none)"
    shown = ", ".join(str(value) for value in option.default) if option.many else option.default
    return f" (default: {shown})"


def add_options(parser: argparse.ArgumentParser, options: Iterable[Option], title: str) -> None:
    """Add options to a parser under a heading, each with its default in the help."""
    group = parser.add_argument_group(title)
    for option in options:
        flag = f"--{option.name.replace('_', '-')}"
        text = (option.help + _default_text(option)).replace("%", "%%")
        if option.kind is bool:
            group.add_argument(flag, dest=option.name, action="store_true", help=text)
            continue
        metavar = "{" + ",".join(option.choices) + "}" if option.choices else option.name.upper()
        group.add_argument(
            flag,
            dest=option.name,
            default=None,
            metavar=metavar,
            nargs="+" if option.many else None,
            help=text,
        )


def read_options(given: Mapping[str, Any], options: Iterable[Option]) -> dict[str, Any]:
    """Turn parsed strings into values, with defaults for what was not given."""
    values: dict[str, Any] = {}
    for option in options:
        text = given.get(option.name)
        if option.kind is bool:
            values[option.name] = bool(text)
        else:
            values[option.name] = option.default if text is None else parse_option(option, text)
    return values


def study_parser(study: Study) -> Parser:
    """Make the parser of one study: its own options first, then those of every study."""
    parser = Parser(
        prog=f"python -m studies {study.name}",
        description=f"{study.title}. {study.question}",
        allow_abbrev=False,
    )
    if study.options:
        add_options(parser, study.options, "options of this study")
    common = tuple(option for option in options_of(study) if option not in study.options)
    add_options(parser, common, "options of every study")
    return parser
