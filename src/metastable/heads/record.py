"""The one typed record of a run, a comparison, a sweep or a calibration: what its JSON file holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from metastable.errors import InputError, one_line
from metastable.files import files_below, sha256_of, unlike, write_text
from metastable.heads.calibration_options import CalibrationOptions
from metastable.heads.comparison_options import ComparisonOptions
from metastable.heads.models_options import ModelsOptions
from metastable.program import typed as started
from metastable.study import Options
from metastable.typed_json import plain, typed

__all__ = [
    "CalibrationRecord",
    "ClaimRecord",
    "ComparedModel",
    "ComparedReport",
    "ComparisonRecord",
    "ComparisonVerdict",
    "ConditionsRecord",
    "ContrastRecord",
    "ExtractionRecord",
    "FailedModel",
    "FrozenNote",
    "ManyModelsRecord",
    "ManyModelsVerdict",
    "MeasureOverModels",
    "ModelRecord",
    "ModelsRecord",
    "PermutationRecord",
    "ReadModel",
    "Record",
    "RunRecord",
    "RunVerdict",
    "SettingRecord",
    "SiteRecord",
    "SweepRecord",
    "VerdictRecord",
    "read_record",
    "record_kind",
    "require_whole",
    "run_command",
    "with_files",
    "write_record",
]


@dataclass(frozen=True)
class SiteRecord:
    """An attention site of a model: its name and how many layers and heads it has."""

    name: str
    layers: int
    heads: int


@dataclass(frozen=True)
class ModelRecord:
    """A model that was run.

    Attributes
    ----------
    id : str
        Its Hugging Face id; of one from a folder the folder's name.
    folder : str or None
        Where it was read, if from a folder.
    revision : str or None
    weights_sha256 : str
    dtype : str
        The type of its numbers.
    sites : tuple of SiteRecord
    """

    id: str
    folder: str | None
    revision: str | None
    weights_sha256: str
    dtype: str
    sites: tuple[SiteRecord, ...]


@dataclass(frozen=True)
class ContrastRecord:
    """What was compared.

    Attributes
    ----------
    name : str
        ``"condition"``, a factor's name or ``"interaction"``.
    a, b : str
        Names of the two sides.
    unit : str
        What one observation is.
    paired : bool
    predictor : str or None
        The continuous predictor, if the effect is a slope.
    """

    name: str
    a: str
    b: str
    unit: str
    paired: bool
    predictor: str | None


@dataclass(frozen=True)
class PermutationRecord:
    """How many relabelings the tests used, and whether these were all there are."""

    used: int
    exact: bool


@dataclass(frozen=True)
class ExtractionRecord:
    """How the counts were made.

    Attributes
    ----------
    key : str
        Hash of all that they depend on.
    capture : str
        How attention was reached.
    capture_reason : str
        Why so.
    reused : bool
        Whether they were there already.
    left_out : mapping of str to str
        Of each measure of every run that could not be had or tested why, after "the measure count_words"; a file in
        which none was left out does not hold it.
    kernel : str
        What measured the rows, and why; a file of an older version does not hold it.
    linear : str
        What multiplied in the model's linear layers, and why; likewise.
    batch_tokens : int
        Tokens of a batch in the end, where memory may have made them fewer; likewise.
    """

    key: str
    capture: str
    capture_reason: str
    reused: bool
    left_out: Mapping[str, str] = field(default_factory=dict)
    kernel: str = ""
    linear: str = ""
    batch_tokens: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return what `json.dumps` writes."""
        may_lack = ("left_out", "kernel", "linear", "batch_tokens")
        return {name: plain(value) for name, value in vars(self).items() if name not in may_lack or value}


@dataclass(frozen=True)
class FrozenNote:
    """What was frozen before a run, and whether the run keeps to it.

    Attributes
    ----------
    at : str
        Date and time, in ISO 8601.
    sha256 : str
        Hash of the frozen record.
    commit : str or None
        Of the repository, with "+" behind it where that had changes.
    differing : tuple of str
        What the run does otherwise; empty where it keeps to all.
    """

    at: str
    sha256: str
    commit: str | None
    differing: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClaimRecord:
    """What became of a claim.

    Attributes
    ----------
    statement : str
    outcome : str
        ``"supported"``, ``"not supported"``, ``"contradicted"`` or ``"not judged"``.
    test : str
        The test that judged it; why it was not judged.
    p, p_holm : float or None
        Its p, and that after Holm's correction over the claims.
    """

    statement: str
    outcome: str
    test: str
    p: float | None
    p_holm: float | None


@dataclass(frozen=True)
class VerdictRecord:
    """The verdict for programs.

    Attributes
    ----------
    word : str
        ``"different"``, ``"equivalent"``, ``"undecided"``, or of a sweep ``"mixed"``.
    sentence : str
    different, negligible, equivalent, undecided : int
        How many heads are so; of a sweep over all its settings. Negligible ones are different, within the margin.
    """

    word: str
    sentence: str
    different: int
    equivalent: int
    undecided: int
    negligible: int = field(default=0, kw_only=True)


@dataclass(frozen=True)
class RunVerdict(VerdictRecord):
    """The verdict of a run.

    Attributes
    ----------
    heads : int
        How many were tested.
    alike : tuple of str
        Covariates whose means differ by less than 0.1 standard deviations between the two sides; a file of an older
        version does not hold it.
    """

    heads: int
    alike: tuple[str, ...] = ()


@dataclass(frozen=True)
class Record:
    """What a JSON file holds, by its fields."""

    def to_json(self) -> dict[str, Any]:
        """Return what `json.dumps` writes."""
        # an older record, and one whose files are not written yet, knows no hashes
        return {name: plain(value) for name, value in vars(self).items() if name != "files" or value}

    @classmethod
    def from_json(cls, found: Any, path: Path) -> Self:
        """Read what `json.loads` gave.

        Parameters
        ----------
        found : object
        path : Path
            The file that it was read from.

        Raises
        ------
        InputError
            If a key is missing or a value has another type, naming the file, the key and what to do.
        """
        try:
            record: Self = typed(cls, found)
        except InputError as error:
            command = found.get("command") if isinstance(found, dict) else None
            raise InputError(
                f"{path} {error}: another version wrote it; run it again: "
                + str(command or run_command(path.parent.name, path.parent.parent))
            ) from None
        return record

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file, as `from_json` does.

        Raises
        ------
        InputError
            If the file cannot be read as JSON, too.
        """
        return cls.from_json(_loaded(path), path)


@dataclass(frozen=True)
class RunRecord(Record):
    """What run.json holds of a study's run.

    Attributes
    ----------
    study, title : str
    command : str
        What was typed.
    finished : str
        Date and time, in ISO 8601.
    options : Options
    model : ModelRecord
    sources : mapping of str to str
        Where the material comes from, and its hashes.
    notes : tuple of str
        What a reader must know of how the sequences were made.
    n_sequences : int
    contrast : ContrastRecord
        The primary one.
    permutations : PermutationRecord
        Of the primary contrast's tests.
    extraction : ExtractionRecord
    device : str
    seconds : mapping of str to float
        Wall time of each stage.
    packages : mapping of str to str
        Versions.
    python, platform : str
    verdict : RunVerdict or None
        None until the report is written.
    claims : tuple of ClaimRecord
    frozen : FrozenNote or None
        None where nothing was frozen before.
    files : mapping of str to str
        SHA-256 of each file of the report, by its name in the folder.
    """

    study: str
    title: str
    command: str
    finished: str
    options: Options
    model: ModelRecord
    sources: Mapping[str, str]
    notes: tuple[str, ...]
    n_sequences: int
    contrast: ContrastRecord
    permutations: PermutationRecord
    extraction: ExtractionRecord
    device: str
    seconds: Mapping[str, float]
    packages: Mapping[str, str]
    python: str
    platform: str
    verdict: RunVerdict | None
    claims: tuple[ClaimRecord, ...] = ()
    frozen: FrozenNote | None = None
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ComparedModel:
    """The model of a report that was compared."""

    id: str
    weights_sha256: str


@dataclass(frozen=True)
class ComparedReport:
    """A report that was compared.

    Attributes
    ----------
    name : str
        What it is called.
    folder : str
    study : str
    command : str
        What was typed for it.
    model : ComparedModel
    sha256 : mapping of str to str
        Hash of each file that was read.
    packages : mapping of str to str
        Versions that it was made with.
    measure : str
        In which of its measures it was compared; empty where an older version wrote it.
    """

    name: str
    folder: str
    study: str
    command: str
    model: ComparedModel
    sha256: Mapping[str, str]
    packages: Mapping[str, str]
    measure: str = ""


@dataclass(frozen=True)
class ComparisonVerdict:
    """The verdict of a comparison for programs.

    Attributes
    ----------
    sentence : str
    r, p, r_within, p_within : float or None
        Agreement of the maps of effects, over the whole map and within layers; None where there is none.
    both, first, second, neither : int or None
        In how many heads which report finds a difference; None where the models are not the same.
    """

    sentence: str
    r: float | None
    p: float | None
    r_within: float | None
    p_within: float | None
    both: int | None = None
    first: int | None = None
    second: int | None = None
    neither: int | None = None


@dataclass(frozen=True)
class ComparisonRecord(Record):
    """What run.json holds of a comparison.

    Attributes
    ----------
    title, command, finished : str
    options : ComparisonOptions
    comparison : mapping of str to ComparedReport
        By ``"first"`` and ``"second"``.
    relation : {"same heads", "other weights", "other shape"}
        How the heads of the two models correspond.
    thresholds : tuple of float
    packages : mapping of str to str
        Versions that the comparison was made with.
    python, platform : str
    verdict : ComparisonVerdict
    files : mapping of str to str
        SHA-256 of each file of the report, by its name in the folder.
    """

    title: str
    command: str
    finished: str
    options: ComparisonOptions
    comparison: Mapping[str, ComparedReport]
    relation: Literal["same heads", "other weights", "other shape"]
    thresholds: tuple[float, ...]
    packages: Mapping[str, str]
    python: str
    platform: str
    verdict: ComparisonVerdict
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelsRecord:
    """The models of a sweep, their ids in one text."""

    id: str


@dataclass(frozen=True)
class SettingRecord:
    """One run of a sweep.

    Attributes
    ----------
    levels : mapping
        Its value on each axis but the threshold.
    result, counts : str
        Keys of its result and of its counts.
    notes : tuple of str
        What a reader must know of how its sequences were made.
    mixed_model : str
        As lme4 writes it.
    capture : str
        How attention was reached.
    """

    levels: Mapping[str, Any]
    result: str
    counts: str
    notes: tuple[str, ...]
    mixed_model: str
    capture: str


@dataclass(frozen=True)
class SweepRecord(Record):
    """What run.json holds of a sweep.

    Attributes
    ----------
    kind : {"sweep"}
    study, title, command, finished : str
    axes : mapping of str to tuple
        What varied, and its values.
    options : Options
        Of what varied the first value; the file leaves these out.
    model : ModelsRecord
    models : tuple of ModelRecord
    sources : mapping of str to str
        Where the material comes from, and its hashes.
    runs : tuple of SettingRecord
    n_runs_reused : int
        Runs whose result was kept from before.
    device : str
    seconds : mapping of str to float
        Wall time of each stage.
    packages : mapping of str to str
        Versions.
    python, platform : str
    verdict : VerdictRecord or None
        None until the report is written.
    files : mapping of str to str
        SHA-256 of each file of the report, by its name in the folder.
    """

    kind: Literal["sweep"]
    study: str
    title: str
    command: str
    finished: str
    axes: Mapping[str, tuple[Any, ...]]
    options: Options
    model: ModelsRecord
    models: tuple[ModelRecord, ...]
    sources: Mapping[str, str]
    runs: tuple[SettingRecord, ...]
    n_runs_reused: int
    device: str
    seconds: Mapping[str, float]
    packages: Mapping[str, str]
    python: str
    platform: str
    verdict: VerdictRecord | None
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def fixed(self) -> dict[str, Any]:
        """The options that are the same in all settings, by name."""
        return {name: value for name, value in self.options.values().items() if name not in self.axes}

    def to_json(self) -> dict[str, Any]:
        """Return what `json.dumps` writes."""
        return {**super().to_json(), "options": plain(self.fixed)}


@dataclass(frozen=True)
class ReadModel:
    """A model of a study over many.

    Attributes
    ----------
    label, given : str
        What it is called, and what was typed; of an untrained one its seed.
    family, role : str
        ``"draw"``, ``"checkpoint"`` (an earlier one of a training that is drawn once) or ``"untrained"``.
    reading : str
        Hash of what it read: models of one hash share their units.
    result : str
        Key of its result.
    report : str
        Its own report, relative to this folder.
    model : ModelRecord
    packages : mapping of str to str
        Versions that it was run with.
    """

    label: str
    given: str
    family: str
    role: str
    reading: str
    result: str
    report: str
    model: ModelRecord
    packages: Mapping[str, str]


@dataclass(frozen=True)
class FailedModel:
    """A model that could not be read, and why."""

    label: str
    given: str
    reason: str


@dataclass(frozen=True)
class MeasureOverModels:
    """What one measure shows over models; None where there are too few.

    Attributes
    ----------
    measure : str
    n_models : int
        Draws; untrained ones are none.
    size, size_low, size_high : float or None
        Size of the typical head and its interval over models and sequences together.
    share, share_low, share_high : float or None
        Share of heads that differ, likewise.
    mean, mean_low, mean_high : float or None
        Mean signed effect, likewise.
    p_flip : float or None
        Of the mean signed effect by sign flips over models.
    i_squared : float or None
        Of the size.
    n_untrained : int
    untrained_size, untrained_low, untrained_high : float or None
    beyond_untrained_low, beyond_untrained_high : float or None
        Interval of the mean squared size of the trained less that of the untrained ones.
    """

    measure: str
    n_models: int
    size: float | None
    size_low: float | None
    size_high: float | None
    share: float | None
    share_low: float | None
    share_high: float | None
    mean: float | None
    mean_low: float | None
    mean_high: float | None
    p_flip: float | None
    i_squared: float | None
    n_untrained: int
    untrained_size: float | None
    untrained_low: float | None
    untrained_high: float | None
    beyond_untrained_low: float | None
    beyond_untrained_high: float | None


@dataclass(frozen=True)
class ManyModelsVerdict:
    """The verdict over models for programs: a sentence, and every measure's numbers, the run's own first."""

    sentence: str
    measures: tuple[MeasureOverModels, ...]


@dataclass(frozen=True)
class ManyModelsRecord(Record):
    """What run.json holds of a study over many models.

    Attributes
    ----------
    kind : {"models"}
    study, title, command, finished : str
    chosen : ModelsOptions
        The models and the draws.
    options : Options
        Of every run; its model is the first one's.
    measure : str
        What the study is about.
    a, b, unit : str
        Names of the conditions, and what one observation is.
    models : tuple of ReadModel
    failed : tuple of FailedModel
    n_runs_reused : int
        Models whose result was kept from before.
    left_out : mapping of str to str
        Of each measure that is not compared over models why.
    seconds : mapping of str to float
    packages : mapping of str to str
    python, platform : str
    verdict : ManyModelsVerdict
    files : mapping of str to str
        SHA-256 of each file of the report, by its name in the folder.
    """

    kind: Literal["models"]
    study: str
    title: str
    command: str
    finished: str
    chosen: ModelsOptions
    options: Options
    measure: str
    a: str
    b: str
    unit: str
    models: tuple[ReadModel, ...]
    failed: tuple[FailedModel, ...]
    n_runs_reused: int
    left_out: Mapping[str, str]
    seconds: Mapping[str, float]
    packages: Mapping[str, str]
    python: str
    platform: str
    verdict: ManyModelsVerdict | None
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CalibrationRecord(Record):
    """What calibration.json holds.

    Attributes
    ----------
    command : str
    options : CalibrationOptions
    model : ComparedModel
    n_units : int
        Units of the condition that was divided.
    seconds : mapping of str to float
        Wall time of each stage.
    files : mapping of str to str
        SHA-256 of each file of the report, by its name in the folder.
    """

    command: str
    options: CalibrationOptions
    model: ComparedModel
    n_units: int
    seconds: Mapping[str, float]
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ConditionsRecord(Record):
    """What conditions.json holds of a report on more than two conditions.

    Attributes
    ----------
    command : str
    conditions : tuple of str
    options : mapping of str to object
        Those of every pair's run, with those of the table.
    reports : tuple of str
        The folder of each pair's report.
    sentences : tuple of str
        What was found.
    heads, heads_different : int
        Heads that were tested over all conditions at once, and those that differ; 0 where that could not be done.
    pairs_different : int
        Pairs that differ over all heads.
    p_all : float or None
        Whether the conditions differ in any head; None where it could not be had.
    files : mapping of str to str
        SHA-256 of each file of the report, by its name in the folder.
    """

    command: str
    conditions: tuple[str, ...]
    options: Mapping[str, Any]
    reports: tuple[str, ...]
    sentences: tuple[str, ...]
    heads: int
    heads_different: int
    pairs_different: int
    p_all: float | None
    files: Mapping[str, str] = field(default_factory=dict)


Whole = RunRecord | ComparisonRecord | SweepRecord | CalibrationRecord | ManyModelsRecord | ConditionsRecord
"""A record that knows the files of its report."""

Report = TypeVar("Report", bound=Whole)


def run_command(name: str, out: Path) -> str:
    """Return what is typed to run a study into a folder of reports."""
    return started(name, *(() if out == Path("reports") else ("--out", str(out))))


def write_record(record: Record, path: Path) -> None:
    """Write a record as JSON, whole or not at all."""
    write_text(path, json.dumps(record.to_json(), indent=2, ensure_ascii=False) + "\n")


def with_files(record: Report, folder: Path) -> Report:
    """Return a record that knows the hashes of all files in a folder."""
    return replace(record, files={name: sha256_of(folder / name) for name in files_below(folder)})


def require_whole(record: Whole, path: Path) -> None:
    """See that the files beside a record are those that it was written with.

    Parameters
    ----------
    record : RunRecord, ComparisonRecord, SweepRecord, CalibrationRecord, ManyModelsRecord or ConditionsRecord
    path : Path
        Where it was read.

    Raises
    ------
    InputError
        If a file has another hash than the record knows, or the record knows none.
    """
    folder, again = path.parent, f"run it again: {record.command}"
    if not record.files:
        raise InputError(f"{path} does not say which tables it was written with: another version wrote it; {again}")
    if others := unlike(folder, record.files):
        raise InputError(
            f"{folder} holds no report: {others[0]} is not the file that {path.name} was written with (a run was cut "
            f"short there, or the file was changed); {again}"
        )


def _loaded(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({one_line(error)}); run its study again") from None


_KINDS: Mapping[str, type[RunRecord | ComparisonRecord | SweepRecord | ManyModelsRecord]] = {
    "run": RunRecord,
    "comparison": ComparisonRecord,
    "sweep": SweepRecord,
    "models": ManyModelsRecord,
}


def record_kind(path: Path) -> str:
    """Return what a run.json is of: ``"run"``, ``"comparison"``, ``"sweep"`` or ``"models"``.

    Raises
    ------
    InputError
        If the file cannot be read as JSON.
    """
    found = _loaded(path)
    data = found if isinstance(found, dict) else {}
    kind = data.get("kind")
    return "comparison" if "comparison" in data else kind if kind in ("sweep", "models") else "run"


def read_record(path: Path) -> RunRecord | ComparisonRecord | SweepRecord | ManyModelsRecord:
    """Read the run.json of a run, a comparison, a sweep or a study over many models, as `Record.read` does."""
    return _KINDS[record_kind(path)].read(path)
