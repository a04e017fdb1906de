"""Matched nouns in the same sentences, on real words with the bundled encoder."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import metastable
import studies
from metastable.cli import main
from metastable.stats.analysis import of_primary_measure

pytestmark = pytest.mark.usefixtures("undrawn_figures")

CARRIERS = "I thought about the {word} again.\nThe {word} was not what we had expected.\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    carriers = folder / "carriers.txt"
    carriers.write_text(CARRIERS)
    options = ["--pairs", "60", "--permutations", "500", "--carriers", str(carriers), "--out", str(folder)]
    assert main(["carrier_pairs", *options], package=studies) == 0
    return folder / "carrier_pairs"


@pytest.fixture(scope="module")
def sequences(folder):
    return pd.read_parquet(folder / "sequences.parquet")


def test_the_two_sentences_of_a_pair_differ_in_one_token(sequences):
    assert sequences.groupby(["pair", "context"]).size().tolist() == [2] * 120
    for _, two in sequences.groupby(["pair", "context"]):
        first, second = two["token_ids"]
        assert len(first) == len(second)
        assert int(np.sum(np.asarray(first) != np.asarray(second))) == 1


def table_of(per_sequence, sequences):
    """Differences of the two words of each pair in each sentence: (n_pairs, n_sentences, ...)."""
    pair, context = (sequences[name].astype("category").cat.codes.to_numpy() for name in ("pair", "context"))
    first = (sequences["condition"] == "concrete").to_numpy()
    table = np.zeros((60, 2, *per_sequence.shape[1:]))
    table[pair[first], context[first]] += per_sequence[first]
    table[pair[~first], context[~first]] -= per_sequence[~first]
    return table


def t_over_both(table):
    """t over pairs and sentences: the squared error is the mean squares of both less the rest's (Clark 1973)."""
    n_pairs, n_sentences = table.shape[:2]
    mean, of_pairs, of_sentences = table.mean(axis=(0, 1)), table.mean(axis=1), table.mean(axis=0)
    rest = table - of_pairs[:, None] - of_sentences + mean
    residual = (rest**2).sum(axis=(0, 1)) / ((n_pairs - 1) * (n_sentences - 1))
    squares = n_sentences * of_pairs.var(axis=0, ddof=1), n_pairs * of_sentences.var(axis=0, ddof=1)
    inside = (squares[0] > residual) & (squares[1] > residual)
    with np.errstate(invalid="ignore", divide="ignore"):
        return mean / np.sqrt((squares[0] + squares[1] - residual) / (n_pairs * n_sentences)), inside


def paired(per_sequence, sequences):
    """Mean of each word over its sentences, both sides of the pairs in one order: (n_pairs, 2, ...)."""
    sides = []
    for condition in ("concrete", "abstract"):
        rows = sequences[sequences["condition"] == condition]
        codes = rows["pair"].astype("category").cat.codes.to_numpy()
        sides.append(np.stack([per_sequence[rows.index[codes == code]].mean(axis=0) for code in range(60)]))
    return np.stack(sides, axis=1)


@pytest.mark.parametrize("view", ["", "_word_as_query", "_word_as_key"])
def test_each_view_is_tested_on_its_own_rows_of_the_cube(view, folder, sequences):
    cube = metastable.load_counts(folder / "counts.zarr").isel(site=0, threshold=0)
    counts = cube["count_contributions"].transpose("sequence", "layer", "head", "token").to_numpy().astype(float)
    values = np.empty(counts.shape[:3])
    for place, row in enumerate(sequences.itertuples()):
        target = np.isin(row.word_index, row.target)
        assert target.sum() == 1
        n = len(row.token_ids)
        if view == "_word_as_key":
            mass = cube["target_mass"].transpose("sequence", "layer", "head", "token").to_numpy()[place, :, :, :n]
            # the target itself is not among those who look at it
            assert np.isnan(mass[..., target]).all()
            values[place] = np.nanmean(mass.astype(np.float64), axis=-1)
        else:
            rows = counts[place, :, :, :n]
            values[place] = (rows[..., target] if view else rows).mean(axis=-1)
    pairs = paired(values, sequences)
    heads = of_primary_measure(pd.read_csv(folder / f"heads{view}.csv"))
    at = heads["layer"].to_numpy() - 1, heads["head"].to_numpy() - 1
    np.testing.assert_allclose(heads["mean_a"], pairs[:, 0].mean(axis=0)[at], atol=1e-7)
    np.testing.assert_allclose(heads["mean_b"], pairs[:, 1].mean(axis=0)[at], atol=1e-7)
    differs = np.ptp(pairs[:, 0] - pairs[:, 1], axis=0)[at] > 0
    over_pairs = stats.ttest_rel(pairs[:, 0], pairs[:, 1])
    np.testing.assert_allclose(heads["f_items"][differs], over_pairs.statistic[at][differs] ** 2, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(heads["p_items"][differs], over_pairs.pvalue[at][differs], rtol=1e-3, atol=1e-12)
    expected, inside = (one[at] for one in t_over_both(table_of(values, sequences)))
    assert inside.sum() > 30
    np.testing.assert_allclose(heads["statistic"][inside], expected[inside], rtol=1e-4, atol=1e-9)


def test_the_report_judges_the_claim_of_each_view(folder):
    report = (folder / "report.md").read_text()
    claims = report.split("## What was claimed")[1].split("##")[0]
    assert claims.count("**supported**") + claims.count("**not supported**") == 3
    assert "## Other views of the same sequences" in report
    assert "views.png" in report
    assert "difference of mean count of contributions ~ 1 + (1 | word_pair) + (1 | carrier)" in report
    assert "60 word pairs and 2 carriers" in report


def test_targets_that_do_not_query_are_refused(tmp_path, capsys):
    arguments = ["carrier_pairs", "--pairs", "8", "--queries", "special", "--out", str(tmp_path)]
    assert main(arguments, package=studies) == 2
    assert "no target word that queries; leave --queries at all or words" in " ".join(capsys.readouterr().err.split())
