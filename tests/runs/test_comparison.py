"""Two reports joined: against pandas, scipy and what the folders were written with."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from metastable.errors import InputError
from metastable.heads.compared_heads import (
    JOINED_COLUMNS,
    compare_reports,
    corrected_at,
    join_heads,
    one_scale,
    option_differences,
    shared_thresholds,
)
from metastable.heads.comparison_options import ComparisonOptions
from metastable.heads.comparison_result import ComparisonResult
from metastable.heads.depth import depth_thirds, effects_by_depth
from metastable.heads.finished_report import find_report, read_report
from metastable.report.comparison.page import render_page, write_page
from metastable.report.comparison.plates import PLATES
from metastable.report.comparison.sentences import expected_same_sign, limitations, warnings
from metastable.report.comparison.sentences import verdict as verdict_sentences
from metastable.report.plate import placed_plates
from metastable.runs.comparison import comparison_record
from metastable.stats.corrections import adjust_p_values
from metastable.stats.effect_kinds import SLOPE
from metastable.study import Options
from tests.report_folders import report_folder, signed

OPTIONS = ComparisonOptions(permutations=200)


def pair(tmp_path, first=None, second=None):
    folders = [
        report_folder(tmp_path / name, **({"seed": seed} | (given or {})))
        for name, seed, given in (("one", 1, first), ("two", 2, second))
    ]
    return [read_report(folder) for folder in folders]


def written(tmp_path, reports, **given):
    found = compare_reports(*reports, n_permutations=200, **given)
    record = comparison_record(found, OPTIONS, "python -m studies compare one two")
    write_page(ComparisonResult(found, tmp_path / "out", record), lambda *_: None)
    return found, (tmp_path / "out" / "report.md").read_text()


def rendered(reports):
    """The text alone: drawing figures takes most of the time."""
    found = compare_reports(*reports, n_permutations=200)
    record = comparison_record(found, OPTIONS, "python -m studies compare one two")
    return found, render_page(ComparisonResult(found, None, record), placed_plates(PLATES, found))


def verdict(text):
    return [line[2:] for line in text.splitlines() if line.startswith("> ")][:2]


def test_every_head_of_both_tables_is_joined_once(tmp_path):
    one, two = pair(tmp_path, {"thresholds": (0.9, 0.5)}, {"thresholds": (0.5, 0.9)})
    joined = join_heads(one.heads, two.heads, (0.9, 0.5))
    assert tuple(joined.columns) == JOINED_COLUMNS
    assert joined["threshold"].unique().tolist() == [0.9, 0.5]
    for side, report in (("first", one), ("second", two)):
        table = report.heads.set_index(["site", "layer", "head", "threshold"])
        mine = joined.set_index(["site", "layer", "head", "threshold"])
        for column in ("size", "size_low", "size_high", "estimate", "p_perm", "p_perm_fdr"):
            np.testing.assert_array_equal(mine[f"{column}_{side}"], table.loc[mine.index, column])
    # independent normal effects with equal arms: a plain z-test
    z = joined["size_difference"] / (0.2 * np.sqrt(2) / stats.norm.ppf(0.975))
    np.testing.assert_allclose(joined["p_difference"], 2 * stats.norm.sf(z.abs()), rtol=1e-6)
    for _, rows in joined.groupby("threshold"):
        np.testing.assert_allclose(rows["p_difference_fdr"], stats.false_discovery_control(rows["p_difference"]))
    x, y = joined["p_perm_fdr_first"] < 0.05, joined["p_perm_fdr_second"] < 0.05
    assert (joined["significant"] == "both").sum() == (x & y).sum()
    assert (joined["significant"] == "second").sum() == (~x & y).sum()


def test_a_head_without_an_interval_has_no_difference_and_no_part_in_the_correction(tmp_path):
    one, two = pair(tmp_path)
    odd = two.heads.copy()
    odd.loc[0, ["size_low", "size_high"]] = np.nan
    odd.loc[1, "size"] = np.inf
    joined = join_heads(one.heads, odd, (0.9,))
    assert joined["p_difference_fdr"].isna().tolist() == [True, True] + [False] * 10
    np.testing.assert_allclose(
        joined["p_difference_fdr"][2:], stats.false_discovery_control(joined["p_difference"][2:])
    )


def test_the_whole_map_correlates_as_scipy_says(tmp_path):
    found = compare_reports(*pair(tmp_path, {"common": 5}, {"common": 5}), n_permutations=500)
    agreed = found.agreement[0.9]
    table = found.primary
    assert agreed.r == pytest.approx(stats.pearsonr(table["size_first"], table["size_second"]).statistic)
    means = table.groupby("layer")[["size_first", "size_second"]].agg(lambda g: g.abs().mean())
    assert found.size_profile.r == pytest.approx(np.corrcoef(means.T)[0, 1])
    # the differences as measured are twice the effects in both
    assert found.difference_agreement.r == pytest.approx(agreed.r)


@pytest.mark.parametrize(
    ("first", "second", "chosen", "expected"),
    [
        ((0.9,), (0.9,), None, (0.9,)),
        ((0.5, 0.9, 0.99), (0.9, 0.5), None, (0.5, 0.9)),
        ((0.5, 0.9), (0.9, 0.5), (0.9,), (0.9,)),
    ],
)
def test_common_thresholds_are_compared_primary_first(first, second, chosen, expected):
    assert shared_thresholds(first, second, chosen) == expected


def test_thresholds_that_are_not_shared_are_named():
    with pytest.raises(InputError, match=r"0\.5, 0\.6 and the second 0\.9, so .* again with --threshold 0\.5"):
        shared_thresholds((0.5, 0.6), (0.9,))
    with pytest.raises(InputError, match=r"--threshold 0\.5: the first report has 0\.9 and the second 0\.9, 0\.5"):
        shared_thresholds((0.9,), (0.9, 0.5), (0.5,))


def test_the_balance_is_that_of_the_units(tmp_path):
    report = pair(tmp_path)[0]
    sequences = pd.read_parquet(report.folder / "sequences.parquet")
    a, b = (sequences.loc[sequences["condition"] == name, "zipf"] for name in ("concrete", "abstract"))
    expected = (a.mean() - b.mean()) / np.sqrt((a.var() + b.var()) / 2)
    assert report.balance["covariate"].tolist() == ["zipf"]
    assert report.balance["smd"].item() == pytest.approx(expected)


def test_effects_are_on_one_scale_when_units_measures_and_kinds_are_alike(tmp_path):
    reports = {
        name: read_report(report_folder(tmp_path / name, **given))
        for name, given in {
            "plain": {}, "longer": {"tokens": 30}, "slope": {"predictor": "rating"},
            "entropy": {"options": {"measure": "entropy"}}, "again": {"tokens": 11},
        }.items()
    }  # fmt: skip
    alike = {name for name, report in reports.items() if one_scale(reports["plain"], report)}
    assert alike == {"plain", "again"}


def test_options_that_differ_are_listed_with_a_dash_where_there_is_none():
    rows = option_differences(
        Options(threshold=(0.9, 0.5), out="x", seed=1, own={"k": 3000}), Options(threshold=(0.9,), out="y", seed=1)
    )
    assert rows == [("k", "3000", "–"), ("threshold", "0.9, 0.5", "0.9")]


@pytest.mark.parametrize(
    ("agreed", "opening"),
    [
        ({"r": 0.9, "r_within": 0.8}, "Largely the same heads stand out in one and in two in the count (r = .90"),
        ({"r": 0.9, "r_within": 0.6}, "In part, and within layers too, the effect maps of one and two agree in"),
        (
            {"p_within": 0.3},
            "In part, but not demonstrably within layers, the effect maps of one and two agree in",
        ),
        (
            {"p": 0.3, "p_within": 0.3},
            "No agreement between the effect maps of one and two was shown in the count",
        ),
        (
            {"r": -0.9, "p_within": 0.3},
            "Where the effect in one is larger, that in two tends to be smaller in the",
        ),
        (
            {"r_within": -0.9, "p": 0.3},
            "Where the effect in one is larger, that in two tends to be smaller in the",
        ),
    ],
)
def test_how_far_maps_are_said_to_agree_follows_their_correlation(tmp_path, agreed, opening):
    found, _ = rendered(pair(tmp_path, {"common": 5}, {"common": 5}))
    told = replace(found.agreement[0.9], **{"r": 0.5, "p": 0.01, "r_within": 0.5, "p_within": 0.01, **agreed})
    first, _ = verdict_sentences(replace(found, agreement={0.9: told}))
    assert first.startswith(opening)


def test_the_same_heads_are_called_the_same(tmp_path):
    found, text = rendered(pair(tmp_path, {"common": 5, "half": 0.1}, {"common": 5, "half": 0.1}))
    first, second = verdict(text)
    agreed, table = found.agreement[0.9], found.primary
    assert f"r = .{round(100 * agreed.r)} over 12 heads" in first
    assert f"the sign agrees in {int((table['size_first'] * table['size_second'] > 0).sum())} of them" in first
    numbers = [int(n) for n in re.findall(r"(\d+) (?:of|only|in neither|with)", second)]
    counts = table["significant"].value_counts()
    same = int((table["same_sign"] & (table["significant"] == "both")).sum())
    assert numbers == [*(int(counts.get(n, 0)) for n in ("both",)), same, *(
        int(counts.get(n, 0)) for n in ("first", "second", "neither"))]  # fmt: skip
    assert "nan" not in text


def test_other_weights_compare_profiles_and_warn_that_heads_do_not_correspond(tmp_path):
    found, text = written(tmp_path, pair(tmp_path, {"shape": (("self", 6, 4),)}, {"shape": (("self", 6, 4),),
                                                                                  "weights": "b" * 64}))  # fmt: skip
    assert found.relation == "other weights"
    saved = pd.read_csv(tmp_path / "out" / "heads.csv")
    pd.testing.assert_frame_equal(saved, found.joined, check_dtype=False)
    first, second = verdict(text)
    assert first.startswith("The models have the same shape but other weights")
    assert "mean sizes of the effect correlate at r = " in first
    assert second.startswith("Head 1 of one is not head 1 of the other unless")
    assert "heads of two models do not correspond" in text
    assert {path.stem for path in (tmp_path / "out" / "figures").glob("*.png")} == {
        "maps", "profiles", "scatter", "shares",
    }  # fmt: skip


def test_other_shapes_are_compared_by_depth(tmp_path):
    shapes = ({"shape": (("self", 6, 4),)}, {"shape": (("self", 12, 2),), "weights": "b" * 64, "model": "deep"})
    found, text = written(tmp_path, pair(tmp_path, *shapes))
    assert found.relation == "other shape"
    assert found.joined.empty
    assert not found.agreement
    effects = pd.read_csv(tmp_path / "out" / "effects.csv")
    assert effects.groupby("series")["depth"].agg(["min", "max"]).to_numpy() == pytest.approx(
        np.array([[1 / 12, 11 / 12], [1 / 24, 23 / 24]])
    )
    thirds = depth_thirds(found.effects).set_index(["series", "third"])
    heads = found.second.heads
    assert thirds.loc[("two", "last"), "layers"] == "9–12"
    assert thirds.loc[("two", "last"), "mean"] == pytest.approx(heads.loc[heads["layer"] > 8, "size"].mean())
    assert verdict(text)[0].startswith("The models have other shapes, so no head of one is a head of the other")
    assert "## Head by head" not in text
    assert {path.stem for path in (tmp_path / "out" / "figures").glob("*.svg")} == {"profiles", "shares"}


def test_several_sites_have_a_figure_each(tmp_path):
    shape = (("encoder", 2, 3), ("cross", 3, 3))
    found, text = rendered(pair(tmp_path, {"shape": shape}, {"shape": shape}))
    plates = placed_plates(PLATES, found)
    assert [plate.stem for plate in plates if plate.section == "lead"] == ["maps_encoder", "maps_cross"]
    assert [plate.stem for plate in plates if plate.section == "layers"] == ["profiles_encoder", "profiles_cross"]
    assert "of 6 heads" in plates[0].alt
    assert "| site | layer | head |" in text


def test_a_model_too_small_or_flat_to_correlate_still_has_a_report(tmp_path):
    shape = (("self", 1, 2),)
    found, text = rendered(pair(tmp_path, {"shape": shape}, {"shape": shape}))
    assert not found.agreement
    assert "cannot be correlated" in verdict(text)[0]
    assert "Fewer than three heads" in text


def test_slopes_and_turned_conditions_are_warned_of(tmp_path):
    reports = pair(tmp_path, {"predictor": "rating"}, {"conditions": ("abstract", "concrete")})
    texts = " ".join(warnings(compare_reports(*reports, n_permutations=50)))
    assert "d of the slope over the rating of sequences of about 10 tokens in one" in texts
    assert "the signs are turned" in texts
    assert "zipf" in texts.lower()


def test_shared_words_and_noise_are_admitted(tmp_path):
    found = compare_reports(*pair(tmp_path), n_permutations=50)
    texts = " ".join(limitations(found))
    assert "share 41 words" in texts
    share = (0.2 / stats.norm.ppf(0.975)) ** 2 / found.primary["size_first"].var()
    assert f"about {100 * share:.0f}% of the variance over heads in one" in texts


def test_signs_expected_by_chance():
    table = pd.DataFrame({"size_first": [1, 1, 1, -1.0], "size_second": [1, -1, -1, -1.0]})
    assert expected_same_sign(table) == pytest.approx((3 * 1 + 1 * 3) / 4)


def test_depth_is_relative_to_each_site(tmp_path):
    report = read_report(report_folder(tmp_path / "one", shape=(("encoder", 2, 1), ("cross", 4, 1))))
    table = effects_by_depth([report], ["one"], 0.9)
    assert table["depth"].tolist() == [0.25, 0.75, 0.125, 0.375, 0.625, 0.875]


def in_every_fourth_layer(report):
    tables = {name: table.assign(layer=table["layer"] * 4) for name, table in report.of_measure.items()}
    return replace(report, of_measure=tables)


def test_depth_of_a_hybrid_is_that_of_its_attention_layers(tmp_path):
    report = read_report(report_folder(tmp_path / "one", shape=(("self", 2, 1),)))
    hybrid = in_every_fourth_layer(report)
    table = effects_by_depth([hybrid], ["one"], 0.9)
    assert (table["layer"].tolist(), table["depth"].tolist()) == ([4, 8], [0.25, 0.75])


def test_hybrids_with_their_attention_in_other_layers_are_not_joined_head_by_head(tmp_path):
    report = read_report(report_folder(tmp_path / "one", shape=(("self", 2, 1),)))
    other = read_report(report_folder(tmp_path / "two", shape=(("self", 2, 1),)))
    hybrid = in_every_fourth_layer(other)
    assert compare_reports(report, other, n_permutations=20).relation == "same heads"
    assert compare_reports(report, hybrid, n_permutations=20).relation == "other shape"


def break_file(name, content):
    """Write something else than a table, as a run would that is broken itself."""

    def broken(folder):
        (folder / name).write_text(content)
        if name != "run.json":
            signed(folder)

    return broken


def drop_key(folder):
    recipe = json.loads((folder / "run.json").read_text())
    del recipe["contrast"]
    (folder / "run.json").write_text(json.dumps(recipe))


def more_layers(folder):
    recipe = json.loads((folder / "run.json").read_text())
    recipe["model"]["sites"][0]["layers"] = 9
    (folder / "run.json").write_text(json.dumps(recipe))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda folder: (folder / "run.json").unlink(), r"not finished: it lacks run\.json; run it first"),
        (lambda folder: (folder / "details.csv").unlink(), r"it lacks details\.csv; run it first: python -m studies o"),
        (drop_key, r"run\.json lacks 'contrast': another version wrote it; run it again: python -m studies one"),
        (more_layers, r"heads\.csv and run\.json in .*one are of two runs"),
        (break_file("run.json", "{"), r"run\.json cannot be read"),
        (break_file("run.json", "[1]"), r"run\.json lacks 'study'"),
        (break_file("run.json", '{"comparison": {}}'), "holds a comparison"),
        (break_file("heads.csv", ""), r"heads\.csv cannot be read"),
        (break_file("heads.csv", "site,layer\n"), r"heads\.csv lacks the column 'head'"),
        (
            break_file("details.csv", "site,layer,head,threshold,measure,g_low,g_high\nself,1,1,0.9,count,0,1\n"),
            "hold other heads",
        ),
        (break_file("sequences.parquet", "no"), r"sequences\.parquet cannot be read"),
    ],
)
def test_what_is_no_finished_report_is_refused_in_one_sentence(tmp_path, damage, complaint):
    folder = report_folder(tmp_path / "one")
    damage(folder)
    with pytest.raises(InputError, match=complaint) as caught:
        read_report(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["heads.csv", "details.csv", "sequences.parquet"])
def test_a_table_of_another_run_makes_a_mixture_that_is_refused(tmp_path, name):
    first, second = (report_folder(tmp_path / other, seed=seed) for other, seed in (("one", 1), ("two", 2)))
    (first / name).write_bytes((second / name).read_bytes())
    with pytest.raises(InputError, match=f"{name} is not the file that run.json was written with"):
        read_report(first)


def test_a_report_whose_record_knows_no_hashes_is_refused(tmp_path):
    folder = report_folder(tmp_path / "one")
    recipe = json.loads((folder / "run.json").read_text())
    del recipe["files"]
    (folder / "run.json").write_text(json.dumps(recipe))
    with pytest.raises(InputError, match="another version wrote it; run it again: python -m studies one"):
        read_report(folder)


def test_a_report_is_found_by_name_or_path_or_said_to_be_missing(tmp_path):
    folder = report_folder(tmp_path / "one")
    assert find_report("one", tmp_path, []) == folder
    assert find_report(str(folder), Path("elsewhere"), []) == folder
    with pytest.raises(InputError, match="run it first: python -m studies three --out"):
        find_report("three", tmp_path, ["three"])
    with pytest.raises(InputError, match=r"no such folder; .* holds one"):
        find_report("three", tmp_path, [])


def test_a_report_of_slopes_is_read_by_the_columns_of_slopes(tmp_path):
    folder = report_folder(tmp_path / "one", predictor="rating")
    heads, details = (pd.read_csv(folder / name) for name in ("heads.csv", "details.csv"))
    report = read_report(folder)
    assert report.effect == SLOPE
    np.testing.assert_array_equal(report.heads["size"], heads["partial_d"])
    np.testing.assert_array_equal(report.heads["estimate"], heads["slope"])
    np.testing.assert_array_equal(report.heads["size_low"], details["d_low"])


def test_the_first_measure_of_a_table_is_compared(tmp_path):
    folder = report_folder(tmp_path / "one")
    for name in ("heads.csv", "details.csv"):
        table = pd.read_csv(folder / name)
        pd.concat([table, table.assign(measure="share")]).to_csv(folder / name, index=False)
    signed(folder)
    report = read_report(folder)
    assert report.heads["measure"].unique().tolist() == ["count"]
    assert len(report.heads) == 12


def test_a_correction_that_depends_on_the_level_is_done_at_that_of_the_comparison(tmp_path):
    options = {"correction": "tsbh", "alpha": 0.01}
    report = read_report(report_folder(tmp_path / "a", seed=1, options=options))
    assert corrected_at(report, 0.01) is report
    again = corrected_at(report, 0.2)
    for threshold, rows in again.heads.groupby("threshold"):
        p = report.heads.loc[report.heads["threshold"] == threshold, "p_perm"]
        np.testing.assert_allclose(rows["p_perm_fdr"], adjust_p_values(p, method="tsbh", alpha=0.2), rtol=1e-12)
    plain = read_report(report_folder(tmp_path / "b", seed=1, options={"alpha": 0.01}))
    assert corrected_at(plain, 0.2) is plain


def test_a_report_is_not_compared_with_itself(tmp_path):
    report = pair(tmp_path)[0]
    with pytest.raises(InputError, match="given twice"):
        compare_reports(report, report)


def test_reports_about_other_measures_are_compared_in_one_that_both_test(tmp_path):
    tested = ("count", "count_contributions", "special_mass")
    first, second = pair(
        tmp_path,
        {"common": 5, "beside": tested[1:]},
        {"common": 5, "options": {"measure": tested[1]}, "beside": (tested[0], tested[2])},
    )
    assert (first.measure, second.measure) == tested[:2]
    found, text = rendered([first, second])
    assert found.first.measure == found.second.measure == "count"
    assert list(found.by_measure) == list(tested)
    assert found.by_measure["count"] == found.agreement[0.9]
    x, y = (report.of_measure["special_mass"]["size"] for report in (first, second))
    assert found.by_measure["special_mass"].r == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert "All differences are one − two, in the count." in text
    assert "| the run's own measure | count | count of contributions |" in text
    assert "maps of the count that agree may agree in the sink" in text
    # the other way round, what the first is about; and what was chosen
    assert compare_reports(second, first, n_permutations=50).first.measure == "count_contributions"
    chosen = compare_reports(first, second, measure="special_mass", n_permutations=50)
    np.testing.assert_array_equal(chosen.primary["size_first"], x)
    with pytest.raises(InputError, match=r"--measure entropy: the report in .*one tests count, count_contr"):
        compare_reports(first, second, measure="entropy")


def test_reports_that_share_no_measure_are_compared_each_in_its_own(tmp_path):
    found, text = rendered(pair(tmp_path, None, {"options": {"measure": "entropy"}}))
    assert (found.first.measure, found.second.measure) == ("count", "entropy")
    assert "in the count of one and the entropy of two" in text
    assert "--measure count against entropy" in text
