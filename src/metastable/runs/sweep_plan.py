"""What a sweep will do: its runs, made and checked before any of them begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from metastable.errors import InputError
from metastable.extraction.keys import extraction_key
from metastable.extraction.sequence_checks import check_sequences
from metastable.extraction.summarizing import RowOptions, check_model, check_row_options, check_sites
from metastable.heads.contrasts import Contrast
from metastable.heads.recording import software_record
from metastable.heads.sweep_axes import Axis, combinations, setting_text
from metastable.models.encoders import Encoder, Tokenizer, load_encoder, load_tokenizer
from metastable.runs.kept_settings import result_key
from metastable.runs.own_measure import settle_measures
from metastable.runs.study import describe_by_model, prepare_study
from metastable.study import Material, Options, Study

if TYPE_CHECKING:
    from metastable.progress import Advance

__all__ = ["EncoderShelf", "PlannedRun", "naming_the_setting", "plan_runs"]


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep: a combination of all axes but the threshold, whose levels share one extraction.

    Attributes
    ----------
    levels : mapping
        Its value on each axis but the threshold.
    options : Options
    material : Material
    contrast : Contrast
        The primary contrast.
    row_options : RowOptions
        Which rows of attention are summarized; the measures are those of the whole sweep.
    cube : str
        Key of the extraction; runs that share it share the cube.
    key : str
        Key of the result.
    """

    levels: Mapping[str, Any]
    options: Options
    material: Material = field(repr=False)
    contrast: Contrast = field(repr=False)
    row_options: RowOptions
    cube: str
    key: str


class EncoderShelf:
    """Holds the tokenizers, and the model that was used last, so that neighbouring runs load it once."""

    def __init__(self) -> None:
        self._name: tuple[Any, ...] = ()
        self._encoder: Encoder | None = None
        self._tokenizers: dict[tuple[str, str | None], Tokenizer] = {}

    def tokenizer(self, options: Options) -> Tokenizer:
        """Return the tokenizer of the model that options name."""
        name = (options.model, options.revision)
        if name not in self._tokenizers:
            self._tokenizers[name] = load_tokenizer(options.model, revision=options.revision)
        return self._tokenizers[name]

    def get(self, options: Options) -> Encoder:
        """Return the model that options name."""
        name = (options.model, options.revision, options.device, options.dtype)
        if self._encoder is None or name != self._name:
            self._encoder = None  # two large models may not fit beside each other
            self._encoder = load_encoder(
                options.model, revision=options.revision, device=options.device, dtype=options.dtype
            )
            self._name = name
        return self._encoder


def naming_the_setting(levels: Mapping[str, Any], error: InputError) -> InputError:
    """Return the error with the setting in front that it arose in."""
    return InputError(f"setting {setting_text(levels)}: {error}") if levels else error


def plan_runs(
    study: Study, options: Options, axes: Sequence[Axis], shelf: EncoderShelf, advance: Advance
) -> tuple[PlannedRun, ...]:
    """Make the sequences of every run and see that each of them can be read by its model.

    Parameters
    ----------
    study : Study
    options : Options
    axes : sequence of Axis
    shelf : EncoderShelf
        Gives the models.
    advance : callable
        Told of progress as ``f(done, total)``.

    Returns
    -------
    tuple of PlannedRun
        In the order of the settings.

    Raises
    ------
    InputError
        Naming the setting that cannot be built.
    """
    chosen = combinations(axis for axis in axes if axis.name != "threshold")
    levels_of_measure = next((axis.levels for axis in axes if axis.name == "measure"), ())
    software = software_record().packages
    runs = []
    for done, levels in enumerate(chosen):
        advance(done, len(chosen))
        mine = options.replaced(levels)
        try:
            material, contrasts = prepare_study(study, mine, shelf.tokenizer(mine))
            encoder = shelf.get(mine)
            material, contrasts = describe_by_model(study, mine, material, encoder)
            mine = settle_measures(study, mine, encoder, material.sequences)[1]
            rows, own = (
                check_row_options(mine.queries, mine.keys, mine.unit, wanted)
                for wanted in (("count", mine.measure, *levels_of_measure), ("count", mine.measure))
            )
            check_sequences(encoder, material.sequences, rows, mine.batch_tokens)
            check_sites((mine.measure,), encoder.sites)
            check_model((mine.measure,), encoder)
        except InputError as error:
            raise naming_the_setting(levels, error) from error
        thresholds = mine.threshold
        cube, counts = (
            extraction_key(encoder, material.sequences, thresholds=thresholds, options=wanted) for wanted in (rows, own)
        )
        key = result_key(study, mine, material, counts, software)
        runs.append(PlannedRun(levels, mine, material, contrasts[0], rows, cube, key))
    advance(len(chosen), len(chosen))
    return tuple(runs)
