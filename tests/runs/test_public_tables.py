"""Tables of public kinds, each a study in one command, and the same from Python."""

import json

import numpy as np
import pandas as pd
import pytest

import metastable
import studies
from metastable.cli import main
from metastable.files import unlike
from metastable.report.index import write_index
from metastable.stats import welch_anova
from tests.model_folders import model_folder

pytestmark = pytest.mark.usefixtures("undrawn_figures")

NOUNS = ["cup", "tree", "river", "stone", "horse", "bridge", "window", "apple", "hammer", "candle", "boat", "garden"]
IDEAS = ["hope", "truth", "fear", "idea", "duty", "mercy", "honor", "belief", "reason", "guilt", "pride", "virtue"]
VERBS = ["saw", "liked", "found", "lost", "took", "left"]


def subjects():
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "subject": f"s{subject}",
            "condition": condition,
            "text": f"She {rng.choice(VERBS)} the {rng.choice(words)}, {'then ' * turn}the {rng.choice(words)} today.",
            "arousal": round(float(rng.normal(5, 1)), 2),
            "mood": rng.choice(["calm", "tense", "so"]),
        }
        for subject in range(8)
        for condition, words in (("literal", NOUNS), ("figurative", IDEAS))
        for turn in range(3)
    )


def carriers():
    frames = ("I thought about the {} again.", "They talked about the {} for an hour.", "Nobody saw the {} there.")
    return pd.DataFrame(
        {"condition": condition, "item": item, "carrier": number, "text": frame.format(word), "target": word}
        for item, pair in enumerate(zip(NOUNS[:7], IDEAS[:7], strict=True))
        for condition, word in zip(("concrete", "abstract"), pair, strict=True)
        for number, frame in enumerate(frames)
    )


def three():
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {"condition": name, "text": " ".join(rng.permutation(NOUNS)[:size])}
        for name, size in (("few", 4), ("some", 5), ("many", 6))
        for _ in range(9)
    )


def frequency():
    rng = np.random.default_rng(4)
    return pd.DataFrame(
        {"sentence": f"She {rng.choice(VERBS)} the {word} again.", "log_frequency": round(float(rng.normal(3, 1)), 2)}
        for word in (*NOUNS, *IDEAS)
    )


def entailment():
    rng = np.random.default_rng(5)
    rows = []
    for number in range(20):
        one, other = rng.choice(NOUNS, 2, replace=False)
        same = number % 2 == 0
        rows.append(
            {
                "premise": f"A man {rng.choice(VERBS)} the [[{one}]] in his hand.",
                "hypothesis": f"There is a [[{one if same else other}]].",
                "label": "entailment" if same else "contradiction",
            }
        )
    return pd.DataFrame(rows)


def save(frame, path):
    if path.suffix == ".xlsx":
        frame.to_excel(path, index=False)
    elif path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")


CASES = {
    "subjects.csv": (subjects, ("subject", 8, 8)),
    "carriers.xlsx": (carriers, ("item", 7, 7)),
    "frequency.tsv": (frequency, ("sequence", 12, 12)),
    "entailment.jsonl": (entailment, ("sequence", 10, 10)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module", params=list(CASES))
def ran(request, folder):
    make, expected = CASES[request.param]
    save(make(), folder / request.param)
    out = folder / "reports"
    assert main(["run", str(folder / request.param), "--permutations", "199", "--out", str(out)], package=studies) == 0
    return request.param.partition(".")[0], make(), expected, out


def test_each_is_a_study_in_one_command(ran):
    name, _, (unit, n_a, n_b), out = ran
    record = json.loads((out / name / "run.json").read_text())
    assert record["contrast"]["unit"] == unit
    sides = pd.read_parquet(out / name / "sequences.parquet").groupby("condition", sort=False)
    counted = sides["pair"].nunique() if unit in {"item", "subject"} else sides.size()
    assert counted.tolist() == [n_a, n_b]
    assert (out / name / "report.md").is_file()


def test_a_frame_gives_the_heads_of_its_file(ran):
    name, frame, _, out = ran
    found = metastable.run(frame, name=name, progress=False, permutations=199, out=str(out.parent / "frames"))
    written = pd.read_csv(out / name / "heads.csv")
    pd.testing.assert_frame_equal(found.heads.reset_index(drop=True), written, check_dtype=False)


def test_what_is_not_used_stands_at_the_top_of_the_report_and_covariates_in_the_balance(folder, ran):
    name, _, _, out = ran
    if name != "subjects":
        pytest.skip("the table with a covariate and with a column that is not used")
    text = (out / name / "report.md").read_text()
    assert text.index("column mood is not used") < text.index("## What was compared")
    assert "arousal" in text[text.index("## Is the comparison fair?") :]


def test_targets_of_two_texts_are_tested_from_one_to_the_other(ran):
    name, _, _, out = ran
    if name != "entailment":
        pytest.skip("the table of two texts")
    heads = pd.read_csv(out / name / "heads_text_to_text_b.csv")
    assert set(heads["measure"]) == {"span_mass"}
    sequences = pd.read_parquet(out / name / "sequences.parquet")
    assert (sequences["target"].str.len() == 2).all()
    counts = metastable.load_counts(out / name / "counts.zarr")
    tokens = [int(np.flatnonzero(np.array(words) == target[0])[0]) for words, target in
              zip(sequences["word_index"], sequences["target"], strict=True)]  # fmt: skip
    mass = np.stack(
        [counts["span_mass"].isel(sequence=row, token=token).to_numpy() for row, token in enumerate(tokens)]
    )
    side = (sequences["condition"] == "entailment").to_numpy()
    expected = (mass[side].mean(axis=0) - mass[~side].mean(axis=0)).ravel()
    np.testing.assert_allclose(heads["difference"], expected, rtol=1e-5, atol=1e-7)


def test_three_conditions_are_tested_at_once_and_pair_by_pair(folder):
    save(three(), folder / "three.parquet")
    out = folder / "several"
    words = ["run", str(folder / "three.parquet"), "--permutations", "199", "--out", str(out), "--measure", "count"]
    assert main(words, package=studies) == 0
    omnibus = pd.read_csv(out / "three" / "omnibus.csv")
    pairs = pd.read_csv(out / "three" / "pairs.csv")
    means, labels = [], []
    for name, report in (("few", "three_few_some"), ("some", "three_few_some"), ("many", "three_few_many")):
        counts = metastable.load_counts(out / report / "counts.zarr")
        mine = counts.isel(sequence=(counts["condition"] == name).to_numpy())
        means.append(mine["mean_count"].to_numpy()[:, 0, :, :, 0].reshape(9, -1))
        labels += [name] * 9
    statistic, _, p = welch_anova(np.concatenate(means), labels)
    np.testing.assert_allclose(omnibus["F"], statistic, rtol=1e-6)
    np.testing.assert_allclose(omnibus["p_welch"], p, rtol=1e-5)
    assert len(pairs) == 3 * 72
    # corrected over the heads of all pairs, as scipy does it
    from scipy.stats import false_discovery_control

    np.testing.assert_allclose(pairs["p_all_pairs"], false_discovery_control(pairs["p_perm"]))
    text = (out / "three" / "report.md").read_text()
    assert "few, some and many differ in the count" in text
    assert "(../three_few_many/report.md)" in text
    contrasts = pd.read_csv(out / "three" / "contrasts.csv", keep_default_na=False)
    # four, five and six words
    assert contrasts["unlike"].tolist() == ["tokens"] * 3
    assert text.count("| tokens per sequence |") == 3
    # a figure of the means, and one of the pairs; the page in one file; its line in the index
    assert [line.rpartition("](")[2] for line in text.splitlines() if line.startswith("![")] == [
        "figures/means.png)", "figures/pairs.png)",
    ]  # fmt: skip
    differ = int((omnibus["p_perm_fdr"] < 0.05).sum())
    assert f"The conditions differ in {differ} of 72 heads after FDR correction at .05.](figures/means.png)" in text
    page = (out / "three" / "report.html").read_text()
    assert page.count('src="data:image/png') == 2
    assert 'href="../three_few_many/report.html"' in page
    record = json.loads((out / "three" / "conditions.json").read_text())
    assert unlike(out / "three", record["files"]) == []
    assert {"report.md", "report.html", "figures/pairs.svg", "omnibus.csv"} < set(record["files"])
    index = (out / "README.md").read_text().split("## Several conditions")[1]
    row = next(line for line in index.splitlines() if line.startswith("| ["))
    assert row.startswith("| [few, some and many](three/report.md) | few, some and many differ in the count (")
    share = f"{differ} of 72"
    assert share in row
    (out / "three" / "omnibus.csv").write_text("")
    assert "three/report.md) | few, some" not in write_index(out).read_text()
    assert main(["sweep", str(folder / "three.parquet"), "--threshold", "0.5", "0.9"], package=studies) == 2


def test_the_same_file_in_every_command(folder, capsys):
    save(entailment().drop(columns="hypothesis"), folder / "mine.csv")
    file, out = str(folder / "mine.csv"), str(folder / "every")
    common = ["--permutations", "99", "--alpha", "0.1", "--out", out]
    assert main(["compare", file, file, "--out", out], package=studies) == 2
    assert "run it first: python -m studies run" in " ".join(capsys.readouterr().err.split())
    assert main(["freeze", file, *common], package=studies) == 0
    assert f"run it with: python -m studies run {file}" in " ".join(capsys.readouterr().out.split())
    picked = ["--a", "contradiction", "--max-length", "12"]
    assert main(["run", file, *picked, *common], package=studies) == 0
    assert main(["calibrate", file, "--splits", "3", *common], package=studies) == 0
    # what the run was told of the file's columns holds in its calibration too
    assert "reused" in " ".join(capsys.readouterr().out.split())
    assert main(["sweep", file, "--threshold", "0.5", "0.9", "--measure", "count", *common], package=studies) == 0
    assert main(["run", file, "--name", "again", *common], package=studies) == 0
    assert main(["compare", file, "again", "--permutations", "99", "--out", out], package=studies) == 0


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_targets_of_two_texts_are_tested_in_models_of_other_kinds(tmp_path, kind):
    rng = np.random.default_rng(0)
    words = ["cup", "oak", "sea", "rock"]
    rows = []
    for number in range(16):
        one, other = rng.choice(words, 2, replace=False)
        second = f"no [[{one if number % 2 else other}]] now"
        rows.append({"premise": f"the [[{one}]] is here", "hypothesis": second, "label": "ab"[number % 2]})
    model = model_folder(tmp_path / "model", kind)
    out = tmp_path / "reports"
    found = metastable.run(
        pd.DataFrame(rows), progress=False, permutations=99, alpha=0.1, out=str(out), model=str(model)
    )
    heads = pd.read_csv(found.report.with_name("heads_text_to_text_b.csv"))
    back = pd.read_csv(found.report.with_name("heads_text_b_to_text.csv"))
    if kind == "gpt2":
        # a query sees no later key, and the two texts are one
        assert (heads["mean_a"] == 0).all()
    assert (back["mean_a"] > 0).all()


def test_a_covariate_that_one_text_decides_is_left_out_of_what_stands_beside_and_refused_when_asked_for(
    tmp_path, capsys
):
    rng = np.random.default_rng(6)
    frame = pd.DataFrame(
        {
            "condition": "plain" if number % 2 else "odd",
            "text": " ".join(rng.permutation(NOUNS)[:5]),
            "loudness": float(number == 7),
            "arousal": round(float(rng.normal(5, 1)), 2),
        }
        for number in range(24)
    )
    save(frame, tmp_path / "loud.csv")
    arguments = ["run", str(tmp_path / "loud.csv"), "--permutations", "199", "--out", str(tmp_path / "reports")]
    assert main([*arguments, "--covariates", "arousal", "loudness"], package=studies) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "--covariates loudness: a single sequence would decide its coefficient" in told
    assert not (tmp_path / "reports" / "loud").exists()
    assert main(arguments, package=studies) == 0
    report = (tmp_path / "reports" / "loud" / "report.md").read_text(encoding="utf-8")
    assert "Left out, since a single sequence would decide its coefficient: loudness." in report
