"""Parsers made from the options that a study declares."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

from metastable.errors import InputError, nearest
from metastable.program import typed
from metastable.study import Option, Study
from metastable.study.options import parse_option
from metastable.study.own_options import options_of
from metastable.study.registry import Registry

__all__ = ["Parser", "add_common_options", "add_options", "read_options", "study_parser"]


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `InputError` instead of printing a usage block."""

    def error(self, message: str) -> NoReturn:
        """Raise the complaint as an `InputError` that says where the options are listed."""
        raise InputError(f"{message} ({self.prog} --help shows the options)")

    def refuse(self, words: Sequence[str]) -> NoReturn:
        """Refuse words that no option takes, naming the option that the first of them may have meant."""
        flag = next((word.partition("=")[0] for word in words if word.startswith("-")), "")
        flags = [name for action in self._actions for name in action.option_strings]
        near = nearest(flag, flags)
        hint = f"; did you mean {near}?" if near else ""
        self.error(f"unrecognized arguments: {' '.join(words)}{hint}")

    def read(self, words: Sequence[str]) -> dict[str, Any]:
        """Return what was given for each option by its name, and refuse all else."""
        given, rest = self.parse_known_args(words)
        if rest:
            self.refuse(rest)
        return vars(given)


def _default_text(option: Option) -> str:
    if option.kind is bool:
        return ""
    if option.default is None or option.default == ():
        # many say themselves what none is
        return "" if "(none: " in option.help else " (default: none)"
    shown = ", ".join(str(value) for value in option.default) if option.many else option.default
    return f" (default: {shown})"


def _choices_text(option: Option) -> str:
    if not isinstance(option.choices, Mapping):
        return ""
    return "; " + "; ".join(f"{name}: {line}" for name, line in option.choices.items())


def add_options(parser: argparse.ArgumentParser, options: Iterable[Option], title: str) -> None:
    """Add options to a parser under a heading, each with its default in the help."""
    group = parser.add_argument_group(title)
    for option in options:
        text = (option.help + _choices_text(option) + _default_text(option)).replace("%", "%%")
        if option.kind is bool:
            group.add_argument(option.flag, dest=option.name, action="store_true", help=text)
            continue
        metavar = "{" + ",".join(option.choices) + "}" if option.choices else option.name.upper()
        group.add_argument(
            option.flag,
            dest=option.name,
            default=None,
            metavar=metavar,
            nargs="+" if option.many else None,
            help=text,
        )


def add_common_options(parser: argparse.ArgumentParser, options: Iterable[Option]) -> None:
    """Add options that every study has to a parser, each under the heading that it belongs to."""
    options = tuple(options)
    for heading in dict.fromkeys(option.group for option in options):
        add_options(parser, (option for option in options if option.group == heading), heading)


def named_study(
    registry: Registry,
    words: Sequence[str],
    parser: Callable[[Study | None], Parser],
    complaint: str,
    table: Callable[[Sequence[str]], Study | None] = lambda _: None,
) -> Study:
    """Return the study that a command's first word names; asked for help in its place, show the command's own.

    Parameters
    ----------
    registry : Registry
    words : sequence of str
        What follows the command's name.
    parser : callable
        Makes the parser for a study, or, for None, that of no study in particular.
    complaint : str
        What to say where no study is named.
    table : callable
        Makes a study of the file of texts that the words begin with; None where they begin with none.

    Returns
    -------
    Study

    Raises
    ------
    InputError
        If no study is named, or there is none of that name.
    """
    if words and words[0] in {"-h", "--help"}:
        parser(None).read(words)
    if not words or words[0].startswith("-"):
        raise InputError(f"{complaint} ({typed('list')} shows the studies)")
    study = table(words)
    if study is not None:
        return study
    return registry.get(words[0])


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
        prog=typed(study.name),
        usage="%(prog)s [--OPTION VALUE ...]",
        description=f"{study.title}. {study.question}",
        allow_abbrev=False,
    )
    if study.options:
        add_options(parser, study.options, "options of this study")
    own = {option.name for option in study.options}
    add_common_options(parser, (option for option in options_of(study) if option.name not in own))
    return parser
