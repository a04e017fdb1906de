"""Words drawn into two lists, packed, read and tested anew, on real words and the bundled encoder."""

import json

import numpy as np
import pandas as pd
import pytest

import studies
from metastable.cli import main
from metastable.errors import InputError
from metastable.material.redrawing import WordPool, check_redrawing, redrawn, word_pool
from metastable.models.encoders import load_tokenizer
from metastable.study import Material
from metastable.study.own_options import options_for
from metastable.study.registry import find_studies

DRAW = ["calibrate", "null_split", "--k", "120", "--repack", "--permutations", "99"]


def pool_of(name, **given):
    study, tokenizer = find_studies(studies).get(name), load_tokenizer()
    material = study.build(options_for(study, **given), tokenizer)
    return study, material, tokenizer


def test_draws_are_kept_and_a_longer_run_goes_on(tmp_path, capsys):
    out = ["--out", str(tmp_path)]
    assert main([*DRAW, "--packings", "2", "--splits", "2", *out], package=studies) == 0
    folder = tmp_path / "null_split"
    kept = sorted((folder / "repacked").glob("*/*.json"))
    assert [path.name for path in kept] == ["00001.json", "00002.json"]
    before = [path.read_bytes() for path in kept]
    # a damaged one is drawn anew, and the same
    kept[1].write_text("{")
    capsys.readouterr()
    assert main([*DRAW, "--packings", "2", "--splits", "3", *out], package=studies) == 0
    assert "1 of 3 draws were kept from before" in " ".join(capsys.readouterr().out.split())
    assert [path.read_bytes() for path in kept] == before
    assert len(sorted((folder / "repacked").glob("*/*.json"))) == 3
    assert not (folder / "repacked" / "counts.zarr").exists()
    table = pd.read_csv(folder / "calibration_repack.csv")
    assert {"permutation, sequences", "permutation, words", "model: sum of squares, words"} <= set(table["test"])
    assert (table["n_splits"] == 3).all()
    draw = json.loads(kept[0].read_text())
    level = table[(table["correction"] == "none") & (table["measure"] == "false_positive_rate")].set_index("test")
    p = [json.loads(path.read_text())["words"]["features"]["none"] for path in sorted(kept[0].parent.glob("*.json"))]
    # a head that does not vary among so few words has no p
    rates = [np.mean(np.array(one)[np.isfinite(one)] < 0.05) for one in p]
    assert level.loc["permutation, words", "estimate"] == pytest.approx(np.mean(rates))
    assert len(draw["sequences"]["features"]["none"]) == 72
    text = (folder / "calibration_repack.md").read_text()
    assert "packed anew in 2 random packings" in text
    assert "and read by the model, 3 times" in text
    assert "false call of the whole instrument" in text
    assert "power" not in text.split("|", 1)[1].split("\n", 1)[0]
    assert not (folder / "calibration.md").exists()


def test_matched_pairs_are_dealt_out_one_word_to_each_list(tmp_path):
    given = {"high": 0.97, "low": 0.2}
    study, material, tokenizer = pool_of("mt40k_matched", **given)
    pool = word_pool(study, material, "a")
    partner = dict(zip(pool.words, pool.partners, strict=True))
    drawn = redrawn(pool, ("first", "second"), tokenizer, 20, packings=2, rng=np.random.default_rng(1))
    first, second = (
        {one.pair: one.words[0] for one in drawn.units if one.condition == name} for name in ("first", "second")
    )
    assert first.keys() == second.keys()
    pairs = set(partner.items())
    assert all((first[k], second[k]) in pairs or (second[k], first[k]) in pairs for k in first)
    swapped = np.mean([(first[k], second[k]) not in pairs for k in first])
    assert 0.3 < swapped < 0.7
    by_pair = {}
    for one in drawn.sequences:
        by_pair.setdefault(one.pair, []).append(one)
    assert all(len(two) == 2 and len(two[0].words) == len(two[1].words) for two in by_pair.values())


def test_the_pool_is_dealt_out_whole_and_anew_each_time():
    study, material, tokenizer = pool_of("null_split", k=60)
    pool = word_pool(study, material, "b")
    assert set(pool.words) == {word for one in material.sequences if one.condition == "second" for word in one.words}
    lists = []
    for number in range(2):
        drawn = redrawn(pool, ("first", "second"), tokenizer, 20, packings=3, rng=np.random.default_rng(number))
        first, second = ({u.words[0] for u in drawn.units if u.condition == name} for name in ("first", "second"))
        assert not first & second
        assert first | second <= set(pool.words)
        assert drawn.packings == 3
        lists.append(first)
    assert lists[0] != lists[1]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("concreteness_slope", "orders its words by a predictor"),
        ("tvqa_pools", "clusters, a second factor or views"),
        ("carrier_pairs", "views|does not pack words to a length"),
    ],
)
def test_what_is_no_pair_of_lists_is_refused(name, reason):
    study = find_studies(studies).get(name)
    with pytest.raises(InputError, match=reason):
        check_redrawing(study, options_for(study))


def test_texts_and_few_words_are_refused():
    study, material, _ = pool_of("null_split", k=60)
    with pytest.raises(InputError, match="reads texts and not lists of words"):
        word_pool(study, Material(material.sequences), "a")
    few = tuple(one for one in material.sequences if one.identifier.endswith("-0001"))
    with pytest.raises(InputError, match="words to draw from; give more words"):
        word_pool(study, Material(few, of_words=True), "a")
    assert not WordPool(("a",)).paired


def test_finished_packings_are_not_divided(tmp_path, capsys):
    assert main(["calibrate", "null_split", "--packings", "2", "--out", str(tmp_path)], package=studies) == 2
    assert "give --repack" in " ".join(capsys.readouterr().err.split())
