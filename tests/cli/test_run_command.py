"""A file of texts, run without any code."""

import json

import numpy as np
import pandas as pd
import pytest

import metastable
import studies
from metastable.cli import main
from metastable.stats.analysis import of_primary_measure

WORDS = ["cup", "tree", "river", "stone", "horse", "bridge", "window", "apple", "hammer", "candle", "boat", "garden"]


@pytest.fixture
def file(tmp_path):
    rng = np.random.default_rng(3)
    rows = []
    for number in range(8):
        words = [WORDS[index] for index in rng.permutation(len(WORDS))[:6]]
        rows.append({"condition": "many", "text": " ".join(words), "pair": f"p{number}"})
        rows.append({"condition": "one", "text": " ".join(words[:1] * 6), "pair": f"p{number}"})
    path = tmp_path / "mine.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def run(capsys, *arguments):
    code = main(["run", *map(str, arguments)], package=studies)
    captured = capsys.readouterr()
    return code, " ".join(captured.err.split())


def test_a_file_becomes_a_report(file, tmp_path, capsys):
    out = tmp_path / "reports"
    code, err = run(capsys, "--csv", file, "--a", "one", "--permutations", 300, "--max-length", 10, "--out", out)
    assert (code, err) == (0, "")
    recipe = json.loads((out / "mine" / "run.json").read_text())
    assert recipe["options"]["csv"] == str(file)
    assert len(recipe["sources"]["texts SHA-256"]) == 64
    sequences = pd.read_parquet(out / "mine" / "sequences.parquet")
    assert sequences["text"].tolist() == pd.read_csv(file)["text"].tolist()
    heads = of_primary_measure(pd.read_csv(out / "mine" / "heads.csv"))
    means = metastable.load_counts(out / "mine" / "counts.zarr")["mean_count_contributions"].to_numpy()[:, 0, :, :, 0]
    one = (sequences["condition"] == "one").to_numpy()
    expected = (means[one].mean(axis=0) - means[~one].mean(axis=0)).ravel()
    np.testing.assert_allclose(heads["difference"], expected, rtol=1e-9, atol=1e-12)
    assert set(heads["n_a"]) == {8}
    # eight pairs have 256 assignments of signs: the paired test uses them all
    assert recipe["permutations"] == {"used": 256, "exact": True}
    text = (out / "mine" / "report.md").read_text()
    assert "one and many texts" in text
    assert "What was claimed before the run" not in text


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "run needs a file of texts"),
        (["mt40k_topbotk"], "'mt40k_topbotk' is none: python -m studies run FILE"),
        (["nothing.jsonl"], "nothing.jsonl: there is no such file"),
        (["{file}", "--csv", "{file}"], "two files are given"),
        (["{file}", "--pair-column", "pear"], "mine.csv has no such column; did you mean 'pair'"),
        (["{file}", "--b", "many", "--a", "many"], "a condition is not compared with itself"),
        (["--csv", "nothing.csv"], "--csv nothing.csv: there is no such file"),
        (["--csv", "{file}", "--a", "few"], "--a few: mine.csv has the conditions many and one"),
        (["--csv", "{file}", "--name", "../up"], "'../up' cannot name a folder"),
        (["--csv", "{file}", "--name", "mt40k_topbotk"], "is the name of a study"),
        (["--csv", "{file}", "--max-length", "600"], "reads at most 512 tokens"),
    ],
)
def test_bad_input_gives_one_sentence_and_leaves_nothing(file, tmp_path, capsys, monkeypatch, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    code, err = run(capsys, *(text.format(file=file) for text in arguments))
    assert code == 2
    assert complaint in err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]
