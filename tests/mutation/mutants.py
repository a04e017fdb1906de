"""Mutation testing by sample: faults planted one at a time in a copy of the source, and whether a test notices.

``python tests/mutation/mutants.py`` reads `mutants.toml`, which says for every source file the tests that are about it.
Cosmic Ray's operators make the faults, with three of our own beside them (a term, a keyword argument left out, a
function taken for its opposite). Of each file a seeded sample of places is taken, and one fault of each place. Nothing
in the working tree is touched: the source is copied, and the tests import the copy.

Cosmic Ray's own runner starts an interpreter for each fault, which here takes longer than the tests. So one process
imports what the tests need and is forked for each fault instead.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import doctest
import gc
import hashlib
import importlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import parso
import pytest
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider

ROOT = Path(__file__).parents[2]
_MEMORY = 12 * 2**30
_BETWEEN_LOOKS = 0.02  # seconds
# the plugins that the tests need, by name: to look for all that are installed takes longer than most tests
_PYTEST = "-x -q --tb=no -p no:cacheprovider -p _hypothesis_pytestplugin -p pytest_mpl.plugin --hypothesis-seed=0"

# What a slip of the pen would write: other replacements (a shift for a sum) fail at once and tell nothing.
_BINARY = {
    ("Add", "Sub"), ("Sub", "Add"), ("Mul", "Div"), ("Div", "Mul"), ("FloorDiv", "Div"), ("FloorDiv", "Mul"),
    ("Mod", "FloorDiv"), ("Pow", "Mul"), ("BitAnd", "BitOr"), ("BitOr", "BitAnd"), ("BitXor", "BitOr"),
    ("LShift", "RShift"), ("RShift", "LShift"),
}  # fmt: skip
_ORDER = {"Lt", "LtE", "Gt", "GtE"}
# keyword arguments that say how a value is stored, or how an error is worded
_INDIFFERENT = {"dtype", "copy", "each"}
_LEFT_OUT = {"RemoveDecorator", "ExceptionReplacer", "VariableReplacer", "VariableInserter"}
_OPPOSITES = {
    "min": "max", "minimum": "maximum", "fmin": "fmax", "nanmin": "nanmax", "argmin": "argmax", "amin": "amax",
    "any": "all", "ceil": "floor", "sum": "mean", "mean": "median", "zeros": "ones", "hypot": "add",
    "logical_and": "logical_or", "cdf": "sf", "fdtr": "fdtrc", "stdtr": "stdtrit", "greater": "less",
    "var": "std", "nansum": "nanmean", "cumsum": "cumprod", "square": "abs", "isfinite": "isnan",
}  # fmt: skip
_OPPOSITES |= {second: first for first, second in _OPPOSITES.items() if second not in _OPPOSITES}


class DropTerm(Operator):  # type: ignore[misc]
    """Leave the right operand of a sum or a product out: ``a + b`` becomes ``a``."""

    def mutation_positions(self, node: Any) -> list[Any]:
        """One place for every operand but the first: a list, since the node changes while it is gone through."""
        if node.type not in {"arith_expr", "term", "and_test", "or_test", "and_expr", "expr"}:
            return []
        return [(sign.start_pos, sign.end_pos) for sign in node.children[1::2]]

    def mutate(self, node: Any, index: int) -> Any:
        """Take the operator and its operand away."""
        del node.children[2 * index + 1 : 2 * index + 3]
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        """None: Cosmic Ray tests its own operators with these."""
        return ()


class DropKeyword(DropTerm):
    """Leave a keyword argument of a call out: ``var(x, ddof=1)`` becomes ``var(x)``."""

    @staticmethod
    def _keywords(node: Any) -> list[int]:
        if node.type != "arglist":
            return []
        return [
            place
            for place, child in enumerate(node.children)
            if place
            and child.type == "argument"
            and child.children[0].type == "name"
            and child.children[0].value not in _INDIFFERENT
        ]

    def mutation_positions(self, node: Any) -> list[Any]:
        """One place for every keyword argument that does not come first."""
        return [(node.children[place].start_pos, node.children[place].end_pos) for place in self._keywords(node)]

    def mutate(self, node: Any, index: int) -> Any:
        """Take the argument and the comma before it away."""
        place = self._keywords(node)[index]
        del node.children[place - 1 : place + 1]
        return node


class Opposite(DropTerm):
    """Take a function for its opposite: ``min`` for ``max``."""

    def mutation_positions(self, node: Any) -> list[Any]:
        """Every name that is called and has an opposite."""
        if node.type != "name" or node.value not in _OPPOSITES:
            return []
        following = node.get_next_leaf()
        return [(node.start_pos, node.end_pos)] if following is not None and following.value == "(" else []

    def mutate(self, node: Any, index: int) -> Any:  # noqa: ARG002 - one place a name
        """Rename it."""
        node.value = _OPPOSITES[node.value]
        return node


@dataclass(frozen=True)
class Mutant:
    """One fault: where it stands, what made it, and the change as a line before and after."""

    path: str
    line: int
    column: int
    operator: str
    change: str
    source: str

    @property
    def key(self) -> str:
        """The same for the same fault in the same source."""
        return hashlib.sha256(f"{self.path}\n{self.source}".encode()).hexdigest()[:16]


def _operators() -> dict[str, Operator]:
    provider = OperatorProvider()
    chosen: dict[str, Operator] = {}
    for name in provider:
        kind, *pair = name.split("_")
        if kind == "ReplaceBinaryOperator" and tuple(pair) not in _BINARY:
            continue
        if kind == "ReplaceComparisonOperator" and len({*pair} & {"Is", "IsNot"}) == 1:
            continue
        if kind == "ReplaceComparisonOperator" and len({*pair} & _ORDER) == 1 and "NotEq" in pair:
            continue
        if name not in _LEFT_OUT:
            chosen[name] = provider[name]()
    return chosen | {"DropTerm": DropTerm(), "DropKeyword": DropKeyword(), "Opposite": Opposite()}


def _alias_of_types(name: str) -> bool:
    """Whether a name is written as types are, Floats: constants begin with an underscore or are all capitals."""
    return name.isidentifier() and name[0].isupper() and not name.isupper()


def _silent_spans(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Stretches where a change says nothing of what is computed: annotations, messages, types, decorators."""
    lines = source.splitlines()

    def place(line: int, byte: int) -> tuple[int, int]:
        return line, len(lines[line - 1].encode()[:byte].decode())

    silent: list[ast.AST] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert):
            silent.append(node)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            silent += node.decorator_list
        if isinstance(node, ast.FunctionDef) and node.returns:
            silent.append(node.returns)
        elif isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            silent.append(node.annotation)
        elif isinstance(node, ast.keyword) and node.arg == "strict":
            silent.append(node)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            silent += node.body
        elif isinstance(node, ast.Assign) and _alias_of_types(ast.unparse(node.targets[0])):
            silent.append(node.value)
    return [
        (place(node.lineno, node.col_offset), place(node.end_lineno, node.end_col_offset))  # type: ignore[attr-defined]
        for node in silent
    ]


def _places(source: str, operators: dict[str, Operator]) -> dict[tuple[int, int], list[tuple[str, int]]]:
    """Every place of a source file that can be mutated: the operators, and which of its occurrences that is."""
    silent, lines = _silent_spans(source), source.splitlines()
    found: dict[tuple[int, int], list[tuple[str, int]]] = defaultdict(list)
    counts: dict[str, int] = defaultdict(int)

    def visit(node: Any) -> None:
        for name, operator in operators.items():
            for start, _ in operator.mutation_positions(node):
                occurrence = counts[name]
                counts[name] += 1
                # an asterisk or a stroke among parameters is no operator
                sign = lines[start[0] - 1][start[1] :]
                if not sign.startswith(("*,", "/,")) and not any(first <= start < last for first, last in silent):
                    found[start].append((name, occurrence))
        for child in getattr(node, "children", ()):
            visit(child)

    visit(parso.parse(source))
    return dict(found)


def _is_fault(mutated: str | None, source: str) -> bool:
    """Whether a source can be read, and says another thing than it did: 1e150 + 1 is 1e150, ``*{}`` is no operator."""
    if mutated is None:
        return False
    try:
        return ast.dump(ast.parse(mutated)) != ast.dump(ast.parse(source))
    except SyntaxError:
        return False


def mutants_of(path: str, per_file: int, seed: int) -> list[Mutant]:
    """A sample of faults of one file, in the order of its lines: one at each place drawn."""
    source = (ROOT / path).read_text(encoding="utf-8")
    operators = _operators()
    places = _places(source, operators)
    # Each place has its number, so that what is drawn of a file hangs on no other, and a larger sample has the smaller
    # one in it.
    drawn = sorted(places, key=lambda place: random.Random(f"{seed} {path} {place}").random())
    made = []
    for line, column in sorted(drawn[:per_file]):
        name, occurrence = random.Random(f"{seed} {path} {line} {column} kind").choice(places[line, column])
        mutated = mutate_code(source, operators[name], occurrence)
        if not _is_fault(mutated, source):
            continue
        pairs = difflib.unified_diff(source.splitlines(), mutated.splitlines(), lineterm="", n=0)
        change = "\n".join(text for text in pairs if text[:1] in "+-" and text[:3] not in {"+++", "---"})
        made.append(Mutant(path, line, column, name, change, mutated))
    return made


class Trial:
    """A copy of the source, and tests run against it in a process forked for the purpose."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "log"
        self._copy = folder / "src"
        shutil.copytree(ROOT / "src", self._copy, ignore=shutil.ignore_patterns("__pycache__"))
        # kept beside the copy: what numba compiles of a fault must not be found by anyone else
        os.environ["NUMBA_CACHE_DIR"] = str(folder / "numba")
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        os.environ["PYTHONPATH"] = os.pathsep.join([str(self._copy), str(ROOT)])
        sys.path[:0] = [str(self._copy), str(ROOT)]

    def tests(self, path: str, tests: Iterable[str], limit: float, *, keep: bool = False) -> tuple[int, str, float]:
        """Run a file's examples and tests until one fails: the exit code, or minus a signal; which failed; seconds."""
        # Looks at the child, not the clock: while both are stopped, no time of the child's passes.
        looks = 0
        child = os.fork()
        if child == 0:
            self._child(path, [*tests], keep)
        status = None
        while status is None:
            done, ended = os.waitpid(child, os.WNOHANG)
            if done:
                status = os.waitstatus_to_exitcode(ended)
            elif looks * _BETWEEN_LOOKS > limit:
                os.killpg(child, signal.SIGKILL)
                status = -os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                return -abs(status), "time limit", looks * _BETWEEN_LOOKS
            else:
                time.sleep(_BETWEEN_LOOKS)
                looks += 1
        text = self._log.read_text(encoding="utf-8", errors="replace")
        failed = [line for line in text.splitlines() if line.startswith(("FAILED ", "ERROR "))]
        return status, failed[0].split(" - ")[0] if failed else text[-300:], looks * _BETWEEN_LOOKS

    def _child(self, path: str, tests: list[str], keep: bool) -> None:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
        with self._log.open("w") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        os.chdir(ROOT)
        # what is compiled without a fault serves those with one, and not the other way round
        sys.dont_write_bytecode = not keep
        code = 1
        try:
            module = importlib.import_module(".".join(Path(path).relative_to("src").with_suffix("").parts))
            if doctest.testmod(module).failed:
                sys.stdout.write("FAILED example in the docstring\n")
            else:
                code = int(pytest.main([*_PYTEST.split(), *tests]))
        except Exception as error:
            sys.stdout.write(f"ERROR {error!r}\n")
        sys.stdout.flush()
        os._exit(code)

    def source(self, path: str, text: str) -> None:
        """Put a text in the place of a source file of the copy."""
        (self._copy / Path(path).relative_to("src")).write_text(text, encoding="utf-8")


def _kept(results: Path) -> dict[str, dict[str, Any]]:
    if not results.is_file():
        return {}
    lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    return {line["key"]: line for line in lines}


def _table(kept: Iterable[dict[str, Any]]) -> str:
    of_file: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in kept:
        of_file[one["path"]].append(one)
    rows = ["| file | made | killed | survive |", "| --- | ---: | ---: | ---: |"]
    for path, these in sorted(of_file.items()):
        killed = sum(one["killed"] for one in these)
        rows.append(f"| {path.removeprefix('src/metastable/')} | {len(these)} | {killed} | {len(these) - killed} |")
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> int:
    """Plant faults, run the tests, and print what no test noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="source files, or folders of them (all that mutants.toml names)")
    parser.add_argument("--per-file", type=int, help="faults drawn of each file")
    parser.add_argument("--seed", type=int, help="of the sample")
    parser.add_argument("--results", type=Path, default=Path("mutants.jsonl"), help="kept results; what is there stays")
    parser.add_argument("--again", action="store_true", help="try the survivors of kept results once more")
    given = parser.parse_args(arguments)

    plan = tomllib.loads((Path(__file__).parent / "mutants.toml").read_text(encoding="utf-8"))
    wanted = [path for path in plan["tests"] if not given.files or any(path.startswith(one) for one in given.files)]
    if not wanted:
        parser.error("mutants.toml names tests for none of these files")
    per_file, seed = given.per_file or plan["per_file"], plan["seed"] if given.seed is None else given.seed
    kept = _kept(given.results)
    # read when Triton is first imported, by what is loaded here: its kernels are tested without a card
    os.environ.setdefault("TRITON_INTERPRET", "1")
    for module in plan["preload"]:
        importlib.import_module(module)
    # what is loaded stays: no child looks through it for garbage
    gc.freeze()

    drawn: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder))
        for path in wanted:
            tests = plan["tests"][path]
            mutants = mutants_of(path, per_file, seed)
            old = {one.key: kept[one.key] for one in mutants if one.key in kept}
            fresh = [one for one in mutants if one.key not in old or (given.again and not old[one.key]["killed"])]
            drawn |= old
            if not fresh:
                continue
            code, said, seconds = trial.tests(path, tests, 600, keep=True)
            if code != 0:
                sys.stderr.write(f"{path}: its tests fail without a fault: {said}\n")
                return 1
            sys.stdout.write(f"{path}: {len(fresh)} faults, tests of {seconds:.1f} s\n")
            for mutant in fresh:
                trial.source(path, mutant.source)
                code, said, _ = trial.tests(path, tests, 20 + 5 * seconds)
                record = asdict(mutant) | {"key": mutant.key, "killed": code != 0, "by": said if code else ""}
                del record["source"]
                drawn[mutant.key] = record
                with given.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")
                if code == 0:
                    sys.stdout.write(f"  survives at line {mutant.line} ({mutant.operator})\n{mutant.change}\n")
                sys.stdout.flush()
            trial.source(path, (ROOT / path).read_text(encoding="utf-8"))
    sys.stdout.write(f"\n{_table(drawn.values())}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
