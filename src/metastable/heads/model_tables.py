"""What is found over models: tables of each model, of their means, and of their heads sorted within layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from metastable.errors import InputError
from metastable.heads.model_names import UNTRAINED, NamedModel, draws_of
from metastable.heads.model_units import ModelUnits
from metastable.stats.between_models import heterogeneity
from metastable.stats.over_models import MultiBootstrap, Pooled, multi_bootstrap
from metastable.stats.sign_flips import least_models, sign_flip_test
from metastable.stats.verdict import DIFFERENT, NEGLIGIBLE

__all__ = ["QUANTITIES", "ModelRun", "OverModels", "over_models", "sorted_heads", "typical_size"]

QUANTITIES = ("mean", "size", "share")
"""Mean signed effect, size of the typical head, share of heads that differ."""

_WHAT = {"mean": "mean", "size": "size2", "share": "share"}
# More parts of the depth than this say little more, and each is of fewer heads.
_PARTS = 4


@dataclass(frozen=True)
class ModelRun:
    """One model's finished run.

    Attributes
    ----------
    name : NamedModel
        Its family is named.
    units : ModelUnits
    heads : pandas.DataFrame
        Rows of heads.csv at the primary threshold.
    reading : str
        Hash of what it read.
    facts : mapping
        What else is told of it, as JSON holds it: layers, heads, weights' hash, its report's folder, notes.
    """

    name: NamedModel
    units: ModelUnits = field(repr=False)
    heads: pd.DataFrame = field(repr=False)
    reading: str
    facts: Mapping[str, Any] = field(repr=False)

    def of_measure(self, measure: str) -> pd.DataFrame:
        """Return its rows of a measure, in the order of the units' features."""
        rows = self.heads[self.heads["measure"] == measure]
        return self.units.features.merge(rows, on=["site", "layer", "head"], how="left", validate="one_to_one")


@dataclass(frozen=True)
class OverModels:
    """What was found over models, of every measure that all of them could be tested in.

    Attributes
    ----------
    models : pandas.DataFrame
        One row per measure and model: ``measure, model, family, role`` (``"draw"``, ``"checkpoint"``,
        ``"untrained"``), ``reading`` (a letter; models of one letter read the same), ``layers, heads, n_a, n_b,
        n_different``, each of `QUANTITIES` with ``_low`` and ``_high`` (over units, the model as it is), and
        ``left_out`` (heads with an infinite effect).
    means : pandas.DataFrame
        One row per measure, set of models (``"all"``, a family, ``"untrained"``, or a difference of two families), part
        of the depth and quantity: ``measure, models, n_models, part, quantity, estimate, low, high`` (over models and
        units together), ``se, dof, between, shared, percentile_low, percentile_high`` (of the joint draws),
        ``tau, i_squared, q, p_q, prediction_low, prediction_high``, and of means ``p_flip, p_flip_fwer``.
    without : pandas.DataFrame
        The means over all models without each of them: ``measure, without, quantity, estimate, low, high``.
    interactions : pandas.DataFrame
        Each model minus the first one, both as they are: ``measure, model, quantity, estimate, low, high``.
    profiles : pandas.DataFrame
        One row per measure, model, part of the depth and quantity: ``estimate, low, high`` over units.
    parts : tuple of (float, float)
        Limits of the parts of the depth.
    left_out : mapping of str to str
        Of each measure that is not compared over models why.
    """

    models: pd.DataFrame = field(repr=False)
    means: pd.DataFrame = field(repr=False)
    without: pd.DataFrame = field(repr=False)
    interactions: pd.DataFrame = field(repr=False)
    profiles: pd.DataFrame = field(repr=False)
    parts: tuple[tuple[float, float], ...]
    left_out: Mapping[str, str]


def typical_size(squared: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the size of the typical head of mean squares less their noise; 0 where noise explains them."""
    return np.sqrt(np.maximum(squared, 0))


def _parts(runs: Sequence[ModelRun]) -> tuple[tuple[float, float], ...]:
    n = min(_PARTS, *(run.units.least_layers for run in runs))
    return tuple((place / n, (place + 1) / n) for place in range(n)) if n > 1 else ()


def _part_name(limits: tuple[float, float]) -> str:
    return f"{limits[0]:.2f}-{limits[1]:.2f}"


def _read(value: NDArray[np.float64], quantity: str) -> NDArray[np.float64]:
    return typical_size(value) if quantity == "size" else value


def _limits(pooled: Pooled, where: int, quantity: str) -> dict[str, float]:
    amounts = np.array([pooled.estimate[where], pooled.low[where], pooled.high[where]])
    return dict(zip(("estimate", "low", "high"), _read(amounts, quantity).tolist(), strict=True))


def over_models(
    runs: Sequence[ModelRun],
    *,
    alpha: float = 0.05,
    n_resamples: int = 1000,
    n_permutations: int = 10_000,
    rng: int = 0,
) -> OverModels:
    """Find what holds over models.

    Parameters
    ----------
    runs : sequence of ModelRun
        Trained ones and untrained ones, checkpoints of a training in their order.
    alpha : float
        For the sign flips; intervals have the confidence 1 - alpha.
    n_resamples : int
        Draws of models and units.
    n_permutations : int
        Patterns of signs where there are many models.
    rng : int
        Seed; every measure is drawn with the same one.

    Returns
    -------
    OverModels

    Raises
    ------
    InputError
        If there is no run.
    """
    if not runs:
        raise InputError("no model was read; give at least one that can be")
    parts = _parts(runs)
    measures, left_out = _common_measures(runs)
    found: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("models", "means", "without", "interactions", "profiles")
    }
    for measure in measures:
        boot = multi_bootstrap(
            [run.units.measured[measure] for run in runs],
            [run.units.condition for run in runs],
            pair=[run.units.pair for run in runs],
            reads=np.unique([run.reading for run in runs], return_inverse=True)[1],
            groups={
                _part_name(part): [(run.units.depth >= part[0]) & (run.units.depth < part[1]) for run in runs]
                for part in parts
            },
            different=[_differs(run.of_measure(measure)) for run in runs],
            confidence=1 - alpha,
            n_resamples=n_resamples,
            rng=rng,
        )
        for name, rows in (
            ("models", _model_rows(runs, boot, measure)),
            ("means", _mean_rows(runs, boot, alpha, n_permutations, rng)),
            ("without", _without_rows(runs, boot)),
            ("interactions", _interaction_rows(runs, boot)),
            ("profiles", _profile_rows(runs, boot, parts)),
        ):
            found[name] += [{"measure": measure, **row} for row in rows]
    tables = {name: pd.DataFrame(rows) for name, rows in found.items()}
    return OverModels(**tables, parts=parts, left_out=left_out)


def _differs(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Tell which heads differ, negligibly or not."""
    return table["verdict"].isin([DIFFERENT, NEGLIGIBLE]).to_numpy(dtype=bool)


def _common_measures(runs: Sequence[ModelRun]) -> tuple[list[str], dict[str, str]]:
    """Measures that every model was tested in, the first run's order, and why others are left out."""
    measures, left_out = [], {}
    for measure in dict.fromkeys(name for run in runs for name in run.units.measured):
        lacking = [run.name.label for run in runs if measure not in run.units.measured]
        if lacking:
            left_out[measure] = f"{lacking[0]} was not tested in it"
            continue
        unknown = [run.name.label for run in runs if not np.isfinite(run.units.measured[measure]).all()]
        if unknown:
            left_out[measure] = f"units of {unknown[0]} have no value of it"
            continue
        measures.append(measure)
    if not measures:
        raise InputError("the models have no measure in common; name one by --measure that all of them have")
    return measures, left_out


def _letters(runs: Sequence[ModelRun]) -> list[str]:
    """Name what each model read by a letter, in the order of the models."""
    known = list(dict.fromkeys(run.reading for run in runs))
    return [chr(ord("A") + known.index(run.reading) % 26) + "'" * (known.index(run.reading) // 26) for run in runs]


def _roles(runs: Sequence[ModelRun]) -> list[str]:
    drawn = draws_of([run.name for run in runs])
    return [
        "untrained" if run.name.is_untrained else "draw" if draw else "checkpoint"
        for run, draw in zip(runs, drawn, strict=True)
    ]


def _model_rows(runs: Sequence[ModelRun], boot: MultiBootstrap, measure: str) -> list[dict[str, Any]]:
    rows = []
    for place, (run, role, letter) in enumerate(zip(runs, _roles(runs), _letters(runs), strict=True)):
        alone, table = boot.alone(place), run.of_measure(measure)
        row: dict[str, Any] = {
            "model": run.name.label,
            "family": run.name.family,
            "role": role,
            "reading": letter,
            "layers": int(run.units.features.groupby("site")["layer"].nunique().max()),
            "heads": len(run.units.features),
            "n_a": int(run.units.condition.sum()),
            "n_b": int((~run.units.condition).sum()),
            "n_different": int(_differs(table).sum()),
        }
        for quantity in QUANTITIES:
            found = _limits(alone, boot.index(_WHAT[quantity], "all"), quantity)
            row |= {
                quantity: found["estimate"],
                f"{quantity}_low": found["low"],
                f"{quantity}_high": found["high"],
            }
        rows.append({**row, "left_out": int(boot.left_out[place])})
    return rows


def _sets(runs: Sequence[ModelRun]) -> dict[str, NDArray[np.bool_]]:
    """Return the sets of models that means are taken over: all draws, each family, the untrained."""
    drawn = np.array(draws_of([run.name for run in runs]))
    untrained = np.array([run.name.is_untrained for run in runs])
    families = np.array([run.name.family for run in runs])
    sets = {"all": drawn}
    named = [family for family in dict.fromkeys(families[drawn].tolist()) if (families[drawn] != family).any()]
    sets |= {family: drawn & (families == family) for family in named}
    if untrained.any():
        sets[UNTRAINED] = untrained
    return {name: chosen for name, chosen in sets.items() if chosen.any()}


def _groups(boot: MultiBootstrap) -> list[str]:
    return list(dict.fromkeys(group for _, group in boot.names))


def _mean_rows(
    runs: Sequence[ModelRun], boot: MultiBootstrap, alpha: float, n_permutations: int, rng: int
) -> list[dict[str, Any]]:
    rows = []
    sets = _sets(runs)
    for name, chosen in sets.items():
        pooled, own, percentiles = boot.pooled(chosen), boot.own_variance(chosen), boot.percentile(chosen)
        flips = _flips(boot, chosen, alpha, n_permutations, rng) if name != UNTRAINED else {}
        for group in _groups(boot):
            for quantity in QUANTITIES:
                where = boot.index(_WHAT[quantity], group)
                row = {
                    "models": name,
                    "n_models": int(chosen.sum()),
                    "part": group,
                    "quantity": quantity,
                    **_limits(pooled, where, quantity),
                    "se": float(pooled.se[where]),
                    "dof": float(pooled.dof[where]),
                    "between": float(pooled.between[where]),
                    "shared": float(pooled.shared[where]),
                }
                if chosen.sum() > 1:
                    low, high = (_read(limit[[where]], quantity)[0] for limit in percentiles)
                    row |= {"percentile_low": low, "percentile_high": high}
                row |= _varying(boot.estimate[chosen, where], own[:, where], pooled, where, quantity, boot.confidence)
                if quantity == "mean":
                    row |= flips.get(group, {})
                rows.append(row)
    rows += _difference_rows(boot, sets)
    return rows


def _varying(
    estimate: NDArray[np.float64],
    own: NDArray[np.float64],
    pooled: Pooled,
    where: int,
    quantity: str,
    confidence: float,
) -> dict[str, float]:
    if len(estimate) < 2 or not (own > 0).all():
        return {}
    found = heterogeneity(
        estimate, own, mean=float(pooled.estimate[where]), se=float(pooled.se[where]), confidence=confidence
    )
    reach = _read(np.array([found.prediction_low, found.prediction_high]), quantity)
    return {
        # of squared sizes it has no unit that readers know
        "tau": float("nan") if quantity == "size" else found.tau,
        "i_squared": found.i_squared,
        "q": found.q,
        "p_q": found.p,
        "prediction_low": float(reach[0]),
        "prediction_high": float(reach[1]),
    }


def _flips(
    boot: MultiBootstrap, chosen: NDArray[np.bool_], alpha: float, n_permutations: int, rng: int
) -> dict[str, dict[str, float]]:
    """Sign flips over models of the mean signed effect, whole and by depth; none for too few models."""
    if int(chosen.sum()) < least_models(alpha):
        return {}
    groups = _groups(boot)
    values = boot.estimate[chosen][:, [boot.index("mean", group) for group in groups]]
    found = sign_flip_test(values, alpha=alpha, n_permutations=n_permutations, rng=rng)
    return {
        group: {"p_flip": float(found.p[place]), "p_flip_fwer": float(found.p_fwer[place])}
        for place, group in enumerate(groups)
    }


def _difference_rows(boot: MultiBootstrap, sets: Mapping[str, NDArray[np.bool_]]) -> list[dict[str, Any]]:
    """Differences of families that have several models each, the trained ones against the untrained among them."""
    families = {name: chosen for name, chosen in sets.items() if name != "all" and chosen.sum() > 1}
    pairs = [(one, other) for place, one in enumerate(families) for other in list(families)[place + 1 :]]
    compared = {f"{one} − {other}": (families[one], families[other]) for one, other in pairs}
    if UNTRAINED in families and sets["all"].sum() > 1:
        compared = {f"all − {UNTRAINED}": (sets["all"], families[UNTRAINED]), **compared}
    rows = []
    for name, (one, other) in compared.items():
        pooled = boot.difference(one, other)
        for group in _groups(boot):
            for quantity in QUANTITIES:
                where = boot.index(_WHAT[quantity], group)
                # the root of a difference of squares is no difference of sizes: squares are told as they are
                rows.append(
                    {
                        "models": name,
                        "n_models": int(one.sum() + other.sum()),
                        "part": group,
                        "quantity": _WHAT[quantity],
                        "estimate": float(pooled.estimate[where]),
                        "low": float(pooled.low[where]),
                        "high": float(pooled.high[where]),
                        "se": float(pooled.se[where]),
                        "dof": float(pooled.dof[where]),
                        "between": float(pooled.between[where]),
                        "shared": float(pooled.shared[where]),
                    }
                )
    return rows


def _without_rows(runs: Sequence[ModelRun], boot: MultiBootstrap) -> list[dict[str, Any]]:
    drawn = _sets(runs).get("all")
    if drawn is None or drawn.sum() < 3:
        return []
    rows = []
    for place in np.flatnonzero(drawn).tolist():
        others = drawn.copy()
        others[place] = False
        pooled = boot.pooled(others)
        rows += [
            {
                "without": runs[place].name.label,
                "quantity": quantity,
                **_limits(pooled, boot.index(_WHAT[quantity], "all"), quantity),
            }
            for quantity in QUANTITIES
        ]
    return rows


def _interaction_rows(runs: Sequence[ModelRun], boot: MultiBootstrap) -> list[dict[str, Any]]:
    rows = []
    for place in range(1, len(runs)):
        found = boot.fixed_difference(place, 0)
        rows += [
            {
                "model": runs[place].name.label,
                "against": runs[0].name.label,
                "same_reading": runs[place].reading == runs[0].reading,
                "quantity": what,
                "estimate": float(found.estimate[where]),
                "low": float(found.low[where]),
                "high": float(found.high[where]),
            }
            for what in ("mean", "size2")
            for where in (boot.index(what, "all"),)
        ]
    return rows


def _profile_rows(
    runs: Sequence[ModelRun], boot: MultiBootstrap, parts: Sequence[tuple[float, float]]
) -> list[dict[str, Any]]:
    rows = []
    for place, run in enumerate(runs):
        alone = boot.alone(place)
        rows += [
            {
                "model": run.name.label,
                "part": _part_name(part),
                "depth": sum(part) / 2,
                "quantity": quantity,
                **_limits(alone, boot.index(_WHAT[quantity], _part_name(part)), quantity),
            }
            for part in parts
            for quantity in QUANTITIES
        ]
    return rows


def sorted_heads(runs: Sequence[ModelRun], measure: str, size: str = "hedges_g") -> pd.DataFrame:
    """Return the heads of every model sorted by their effect within their layers.

    Heads of two models have no number in common, and of two trainings not even their layer's place in it; sorted, the
    k-th of a layer can be looked at over models.

    Parameters
    ----------
    runs : sequence of ModelRun
    measure : str
    size : str
        Column of the effect.

    Returns
    -------
    pandas.DataFrame
        ``model, family, site, layer, rank`` (1 is the least), ``head``, ``g`` and ``verdict``.
    """
    tables = []
    for run in runs:
        rows = run.of_measure(measure).sort_values(["site", "layer", size], kind="stable")
        tables.append(
            pd.DataFrame(
                {
                    "model": run.name.label,
                    "family": run.name.family,
                    "site": rows["site"],
                    "layer": rows["layer"],
                    "rank": rows.groupby(["site", "layer"]).cumcount() + 1,
                    "head": rows["head"],
                    "g": rows[size],
                    "verdict": rows["verdict"],
                }
            )
        )
    return pd.concat(tables, ignore_index=True)
