"""The calibration command on real words."""

import json

import pandas as pd

import studies
from metastable.cli import main

STUDY = ["--k", "150", "--permutations", "200"]


def test_the_tests_of_a_study_keep_their_level_on_halves_of_one_condition(tmp_path, capsys):
    out = ["--out", str(tmp_path)]
    assert main(["mt40k_topbotk", *STUDY, *out], package=studies) == 0
    capsys.readouterr()
    assert main(["calibrate", "mt40k_topbotk", "--splits", "25", "--permutations", "200", "--shift", "2", *out],
                package=studies) == 0  # fmt: skip
    assert "reused" in capsys.readouterr().out
    folder = tmp_path / "mt40k_topbotk"
    table = pd.read_csv(folder / "calibration.csv")
    level = table[(table["measure"] == "false_positive_rate") & (table["correction"] == "none")]
    assert set(level["test"]) == {"permutation", "welch", "mixed"}
    assert (level["low"] < 0.06).all()
    power = table[(table["measure"] == "power") & (table["correction"] == "none")]
    assert (power["estimate"] > 0.5).all()
    text = (folder / "calibration.md").read_text()
    assert text.count("![") == 3
    assert json.loads((folder / "calibration.json").read_text())["options"]["k"] == 150

    # another k must not replace the counts that the report stands on
    before = (folder / "counts.zarr" / "zarr.json").read_bytes()
    assert main(["calibrate", "mt40k_topbotk", "--k", "100", "--splits", "4", "--permutations", "50", *out],
                package=studies) == 0  # fmt: skip
    assert (folder / "counts.zarr" / "zarr.json").read_bytes() == before


def test_calibrate_needs_a_study(capsys):
    assert main(["calibrate"], package=studies) == 2
    assert "calibrate needs a study" in capsys.readouterr().err
