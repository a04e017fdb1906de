"""The figures of a report on several conditions: every condition and every pair once, on one scale a site."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from metastable.heads.record import ConditionsRecord, with_files, write_record
from metastable.report.conditions_page import condition_sentences, render_conditions
from metastable.report.conditions_plates import PLATES, AllAtOnce, SeveralConditions
from metastable.report.index import write_index
from metastable.report.plate import placed_plates
from metastable.study import Options


def several(conditions, sites=("self",), *, slope=False, tested=True, within=False):
    rng = np.random.default_rng(0)
    keys = pd.DataFrame(
        [(site, layer, head) for site in sites for layer in (1, 2) for head in (1, 2, 3)],
        columns=["site", "layer", "head"],
    )
    n = len(keys)
    means = {f"mean_{name}": rng.uniform(2, 8, n) for name in conditions}
    omnibus = keys.assign(**means, F=2.0, p_perm=0.01, p_perm_fwer=0.02, p_perm_fdr=np.linspace(0, 0.1, n))
    size = "partial_d" if slope else "hedges_g"
    pairs = [
        keys.assign(a=a, b=b, p_perm_fdr=1.0, p_all_pairs=np.where(np.arange(n) == 0, 0.001, 0.5),
                    **{size: rng.normal(size=n)})
        for a, b in combinations(conditions, 2)
    ]  # fmt: skip
    options = Options.of({"measure": "count", "threshold": (0.9,)})
    return SeveralConditions(
        tuple(conditions), omnibus if tested else pd.DataFrame(), pd.concat(pairs, ignore_index=True), options,
        AllAtOnce("subject", within=within),
    )  # fmt: skip


@pytest.mark.parametrize(("n", "means", "pairs"), [(3, [3], [3]), (4, [2, 2], [3, 3]), (5, [2, 3], [2, 3, 3, 2])])
def test_every_condition_and_every_pair_is_shown_once(n, means, pairs):
    names = list("abcde")[:n]
    plates = placed_plates(PLATES, several(names))
    for stem, sizes in (("means", means), ("pairs", pairs)):
        of_stem = [plate for plate in plates if plate.plate.stem == stem]
        figures = [plate.draw() for plate in of_stem]
        # all axes but the bar's are maps
        shown = [[axes.get_title() for axes in figure.axes if axes.get_title()] for figure in figures]
        assert [len(titles) for titles in shown] == sizes
        together = [title.split(":")[0] for titles in shown for title in titles]
        wanted = names if stem == "means" else [f"{a} − {b}" for a, b in combinations(names, 2)]
        assert together == wanted
        bars = {tuple(figure.axes[-1].get_xlim()) for figure in figures}
        assert len(bars) == 1
        assert len({plate.stem for plate in of_stem}) == len(of_stem)


def test_heads_are_outlined_and_counted_where_all_pairs_together_say_so():
    plates = placed_plates(PLATES, several("abc"))
    assert "a − b in 1 of 6 heads" in plates[-1].alt
    assert "differ in 3 of 6 heads after FDR correction at .05" in plates[0].alt


def test_sites_have_figures_of_their_own_and_what_was_not_tested_has_none():
    stems = [plate.stem for plate in placed_plates(PLATES, several("abc", ("text", "image")))]
    assert stems == ["means_text", "means_image", "pairs_text", "pairs_image"]
    assert [plate.stem for plate in placed_plates(PLATES, several("abc", tested=False))] == ["pairs"]
    (slopes,) = placed_plates(PLATES, several("abc", slope=True, tested=False))
    assert slopes.alt.startswith("Maps of the d of the slope;")


def contrasts_of(made, unlike=()):
    """One row for each pair; the first is not alike in some covariates."""
    rows = [
        {"a": a, "b": b, "n_a": 9, "n_b": 9, "p_all_heads": 0.01, "p_all_heads_holm": 0.03, "heads_different": 1,
         "unlike": () if place else unlike}
        for place, (a, b) in enumerate(combinations(made.conditions, 2))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def page(made, unlike=()):
    contrasts = contrasts_of(made, unlike)
    folders = {(row["a"], row["b"]): "x" for row in contrasts.to_dict("records")}
    plates = placed_plates(PLATES, made)
    return render_conditions(made, contrasts, ["So."], "run it", folders, plates)


def test_a_pair_names_the_covariates_in_which_it_is_not_alike():
    rows = [line for line in page(several("abc"), ("zipf", "odd, or not")).splitlines() if line.startswith("| [")]
    assert [row.rpartition("| ")[0].rpartition(" | ")[2] for row in [f"{row[:-1]}| " for row in rows]] == [
        "Zipf frequency and odd, or not ", "– ", "– ",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("within", "statistic"), [(True, "Hotelling's F within subjects"), (False, "Welch's F of subjects")]
)
def test_the_test_of_all_is_called_what_it_is(within, statistic):
    made = several("abc", within=within)
    first, _ = condition_sentences(made, contrasts_of(made), 0.01)
    assert first.startswith(f"a, b and c differ in the count ({statistic} summed over 6 heads, permutation p = .010)")
    text = page(made)
    assert f"the conditions differ ({statistic}, false discovery rate)" in text
    assert ("F is Welch's (1951)" in text) is not within
    assert ("F is that of Hotelling's T-squared" in text) is within
    assert f"conditions are exchanged {'within' if within else 'between'} subjects" in text


def test_the_page_shows_them_where_they_belong():
    text = page(several(["a", "<b>", "c"]))
    assert text.index("](figures/means.png)") < text.index("## Pair by pair") < text.index("](figures/pairs.png)")
    assert text.index("](figures/pairs.png)") < text.index("## Head by head")
    assert "<b>" not in text


def test_a_report_on_several_conditions_has_its_line_in_the_index(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "report.md").write_text("# x")
    record = ConditionsRecord(
        "metastable run mine.csv",
        ("a|b", "c", "d"),
        {"alpha": 0.05},
        ("p", "q", "r"),
        ("They differ.",),
        72,
        30,
        2,
        0.001,
    )
    write_record(with_files(record, folder), folder / "conditions.json")
    text = write_index(tmp_path).read_text(encoding="utf-8")
    assert text.splitlines()[-1] == "| [a\\|b, c and d](mine/report.md) | They differ. | 30 of 72 (42%) | 2 of 3 |"
    (folder / "report.md").write_text("# y")
    said = []
    assert "Several conditions" not in write_index(tmp_path, said.append).read_text(encoding="utf-8")
    assert "report.md is not the file that conditions.json was written with" in said[0]
