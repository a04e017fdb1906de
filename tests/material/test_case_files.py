"""Small inputs that once went wrong, each with its whole kind."""

import unicodedata

import numpy as np
import pandas as pd
import pytest

from metastable.errors import InputError
from metastable.heads.contrasts import contrasts_of
from metastable.material.norms import load_norms, norms_of, select_extremes
from metastable.material.texts import read_texts, text_material, text_study
from metastable.models.encoders import load_tokenizer
from metastable.study import Options
from metastable.study.own_options import options_for

TOKENIZER = load_tokenizer()


def write(folder, content, name):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("header", ["", "Wort;Konkretheit\n", "mot;concrétude\n", "palabra;concreción\n", "x;y\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_ratings_with_decimal_commas_are_read_however_they_are_saved(tmp_path, header, encoding, ending):
    text = f"{header}Hund;4,5\nIdee;1,4\nTisch;3,1\nBär;4,9".replace("\n", ending)
    norms = load_norms(write(tmp_path, text.encode(encoding), "norms.csv"))
    assert dict(zip(norms.table["word"], norms.table["rating"], strict=True)) == {
        "Hund": 4.5, "Idee": 1.4, "Tisch": 3.1, "Bär": 4.9,
    }  # fmt: skip
    assert any("cp1252" in note for note in norms.notes) == (encoding == "cp1252")


def test_a_comma_that_separates_and_divides_is_told(tmp_path):
    with pytest.raises(InputError, match="separate the columns by semicolons"):
        load_norms(write(tmp_path, "Hund,4,5\nIdee,1,4\n", "norms.csv"))
    with pytest.raises(InputError, match=r"row 2: it has 3 cells .* quotation marks"):
        load_norms(write(tmp_path, "word,rating\nHund,4,5\n", "norms.csv"))
    with pytest.raises(InputError, match=r"separated by commas, dog .* or by semicolons"):
        load_norms(write(tmp_path, "dog,4;5\ncat,3;2\n", "norms.csv"))


def test_ratings_on_any_scale_are_rescaled_and_the_other_way_round(tmp_path):
    path = write(tmp_path, "word,rating\ndog,6.5\nidea,2.0\n", "norms.csv")
    with pytest.raises(InputError, match=r"row 2: the rating 6\.5 of 'dog' is outside the scale; .*--rating-scale"):
        load_norms(path)
    norms = load_norms(path, rating_scale=(1, 7))
    np.testing.assert_allclose(norms.table["scaled"], [(6.5 - 1) / 6, (2 - 1) / 6])
    turned = load_norms(path, rating_scale=(7, 1))
    np.testing.assert_allclose(turned.table["scaled"], [(7 - 6.5) / 6, (7 - 2) / 6])
    assert select_extremes(turned, 1, rng=0).concrete["word"].tolist() == ["idea"]
    np.testing.assert_allclose(load_norms(path, rating_scale=(-10, 10)).table["scaled"], [16.5 / 20, 12 / 20])


@pytest.mark.parametrize("scale", [(1,), (1, 1), (1, 2, 3)])
def test_a_scale_has_two_ends(tmp_path, scale):
    with pytest.raises(InputError, match=r"--rating-scale .*: give two numbers"):
        load_norms(write(tmp_path, "word,rating\ndog,2\n", "norms.csv"), rating_scale=scale)


def test_a_scale_that_ratings_do_not_fill_is_told(tmp_path):
    path = write(tmp_path, "word,rating\ndog,3.5\nidea,1.5\n", "norms.csv")
    assert any("run from 1.5 to 3.5" in note and "--rating-scale" in note for note in load_norms(path).notes)
    assert load_norms(path, rating_scale=(1, 4)).notes == ()


def test_columns_are_named_where_names_do_not_tell(tmp_path):
    path = write(tmp_path, "id,Begriff,AoA,Konk\n1,Hund,2.5,4.5\n2,Idee,7.5,1.5\n", "norms.csv")
    with pytest.raises(InputError, match="--word-column and --rating-column"):
        load_norms(path)
    norms = load_norms(path, word_column="begriff", rating_column="Konk")
    assert norms.table["rating"].tolist() == [4.5, 1.5]
    with pytest.raises(InputError, match=r"--rating-column Konkr: .*did you mean 'Konk'"):
        load_norms(path, word_column="Begriff", rating_column="Konkr")
    both = write(tmp_path, "word,valence,arousal\ndog,2,3\nidea,4,5\n", "norms.csv")
    with pytest.raises(InputError, match="may be valence or arousal; say which by --rating-column"):
        load_norms(both)
    assert load_norms(both, rating_column="arousal").table["rating"].tolist() == [3, 5]


def test_ratings_may_stand_before_words(tmp_path):
    norms = load_norms(write(tmp_path, "4.5,dog\n1.5,idea\n", "norms.csv"))
    assert norms.table["word"].tolist() == ["dog", "idea"]


def test_options_of_a_file_that_is_not_given_are_refused():
    own = {"norms": None, "word_column": None, "rating_column": None, "rating_scale": (1.0, 7.0)}
    with pytest.raises(InputError, match="--rating-scale says how --norms is to be read"):
        norms_of(Options(own=own))


def test_a_language_says_which_covariates_it_lacks(tmp_path):
    path = write(tmp_path, "sana;rating\nkoira;4,5\nidea;1,5\n", "norms.csv")
    assert load_norms(path, language="fi").notes == (
        "the columns sana and rating of norms.csv were taken for words and ratings",
    )
    assert "the language eo lacks: Zipf frequency" in " ".join(load_norms(path, language="eo").notes)


QUOTED = 'condition\ttext\nlit\tA cat\nlit\tA dog\nfig\t"Hope fades\nfig\tTruth wins"\nfig\tDuty calls'


@pytest.mark.parametrize("name", ["texts.tsv", "texts.csv"])
def test_rows_that_a_quotation_mark_would_join_are_refused(tmp_path, name):
    text = QUOTED if name.endswith("tsv") else QUOTED.replace("\t", ",")
    with pytest.raises(InputError, match=r"row 4: a quotation mark opens there and closes in line 5"):
        read_texts(write(tmp_path, text, name))
    with pytest.raises(InputError, match="row 4: "):
        read_texts(write(tmp_path, text.replace('wins"', "wins"), name))


def test_a_quoted_cell_of_several_lines_is_one_text(tmp_path):
    text = 'condition,text\nlit,"A cat,\nmy dear, and"\nlit,A dog\nfig,"Say ""hope""\n\nagain"\nfig,Duty\n'
    assert [row.text for row in read_texts(write(tmp_path, text, "texts.csv")).rows] == [
        "A cat,\nmy dear, and", "A dog", 'Say "hope"\n\nagain', "Duty",
    ]  # fmt: skip


def test_a_text_longer_than_a_csv_cell_usually_is_read_and_cut(tmp_path):
    long = "word " * 40_000
    table = read_texts(write(tmp_path, f'condition,text\na,"{long}"\na,x\nb,y\nb,z\n', "texts.csv"))
    material = text_material(table, TOKENIZER)
    assert len(material.sequences[0].token_ids) <= TOKENIZER.max_length
    assert "a: 2 texts, 1 cut to 512 tokens" in material.notes


def determined(folder, rows):
    table = read_texts(write(folder, "condition,text\n" + "".join(f"{c},{t}\n" for c, t in rows), "texts.csv"))
    return table, text_material(table, TOKENIZER)


def test_a_covariate_that_follows_from_others_is_left_out_and_named(tmp_path):
    rows = [("a", "the red dog"), ("a", "the dog"), ("a", "a cat and a dog"), ("b", "a house"), ("b", "the old man"),
            ("b", "one more day of rain")]  # fmt: skip
    table, material = determined(tmp_path, rows)
    assert (
        "the covariate words is left out: in these texts it follows from tokens (words = tokens - 2)" in material.notes
    )
    assert all("words" not in one.covariates and "tokens" in one.covariates for one in material.sequences)
    (contrast,) = contrasts_of(text_study(table, name="x"), material.sequences)
    varied = contrast.covariates.loc[:, np.ptp(contrast.covariates, axis=0) > 0]
    design = np.column_stack([np.ones(len(varied)), varied])
    assert np.linalg.matrix_rank(design) == design.shape[1]


def test_covariates_that_are_free_stay(tmp_path):
    rows = [("a", "incomprehensibility of dogs"), ("a", "the dog"), ("a", "unbelievable cats"), ("b", "a house"),
            ("b", "the antidisestablishmentarianism man"), ("b", "one day of rain"), ("b", "a"),
            ("a", "bring hippopotami"), ("a", "x y z zoo")]  # fmt: skip
    _, material = determined(tmp_path, rows)
    assert not any("left out" in note for note in material.notes)
    assert {"tokens", "words", "characters", "word_pieces", "zipf"} <= set(material.sequences[0].covariates)


def test_words_of_any_script_are_one_word_each_and_what_is_unknown_is_told(tmp_path):
    apart = unicodedata.normalize("NFD", "naïve")
    texts = ["Wie geht's?", "naïve", apart, "مرحبا", "🙂🙂"]
    rows = "".join(f"{'ab'[at % 2]},{text}\n" for at, text in enumerate([*texts, "fine"]))
    material = text_material(read_texts(write(tmp_path, f"condition,text\n{rows}", "texts.csv")), TOKENIZER)
    assert [len(one.words) for one in material.sequences] == [2, 1, 1, 1, 1, 1]
    assert material.sequences[1].words == material.sequences[2].words == ("naïve",)
    assert material.sequences[1].token_ids == material.sequences[2].token_ids
    notes = " / ".join(material.notes)
    assert "1 row holds letters that are written apart from their marks" in notes
    assert "lacks a piece of 1 word," in notes
    assert "🙂🙂 (row 6)" in notes


def test_texts_of_another_language_say_which_covariates_they_lack(tmp_path):
    table = read_texts(write(tmp_path, "condition,text\na,hundo\na,kato\nb,ideo\nb,vero\n", "texts.csv"))
    lacking = text_study(table, name="x")
    material = text_material(table, TOKENIZER, language="eo")
    assert "zipf" not in material.sequences[0].covariates
    assert any("the language eo lacks" in note for note in material.notes)
    assert "zipf" in lacking.build(options_for(lacking), TOKENIZER).sequences[0].covariates


RATED = {"Hund": 6.5, "Idee": 1.5, "Straße": 5.0}


def spelled(kind):
    """The same three ratings as different people would save them."""
    rows = [(word, f"{rating:g}") for word, rating in RATED.items()]
    comma = [(word, rating.replace(".", ",")) for word, rating in rows]

    def lines(rows, mark, header=""):
        return header + "".join(f"{word}{mark}{rating}\n" for word, rating in rows)

    return {
        "plain.csv": lines(rows, ",", "word,rating\n"),
        "german.csv": lines(comma, ";", "Wort;Konkretheit\n").encode("cp1252"),
        "mac.csv": lines(comma, ";", "Wort;Mittelwert\n").encode("mac_roman"),
        "unicode.txt": lines(comma, "\t", "Wort\tBewertung\n").encode("utf-16"),
        "excel.csv": lines(comma, ";", "sep=;\nWort;M\n").encode("utf-8-sig"),
        "quoted.csv": "Wort,Konkretheit\n" + "".join(f'"{word}","{rating}"\n' for word, rating in comma),
        "bare.tsv": lines(rows, "\t"),
        "bars.csv": lines(comma, "|", "mot|concrétude\n"),
        "turned.csv": "".join(f"{rating};{word}\n" for word, rating in comma),
        "several.csv": "id,Begriff,Quelle,Konkretheit (1-7)\n" + "".join(
            f'{number},{word},A,"{rating}"\n' for number, (word, rating) in enumerate(comma, start=1)
        ),
        "lines.jsonl": "".join(f'{{"word": "{word}", "rating": {rating}}}\n' for word, rating in rows),
        "returns.csv": lines(comma, ";", "palabra;concreción\n").replace("\n", "\r"),
    }[kind]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["plain.csv", "german.csv", "mac.csv", "unicode.txt", "excel.csv", "quoted.csv", "bare.tsv", "bars.csv",
     "turned.csv", "several.csv", "lines.jsonl", "returns.csv"],
)  # fmt: skip
def test_norms_of_twelve_spellings_are_the_same_norms(tmp_path, name):
    norms = load_norms(write(tmp_path, spelled(name), name), rating_scale=(1, 7))
    assert dict(zip(norms.table["word"], norms.table["rating"], strict=True)) == RATED


def test_norms_of_a_workbook_and_of_parquet_are_the_same_norms(tmp_path):
    frame = pd.DataFrame(
        {"Wort": list(RATED), "Konkretheit": [f"{rating:g}".replace(".", ",") for rating in RATED.values()]}
    )
    frame.to_excel(tmp_path / "norms.xlsx", index=False)
    frame.to_parquet(tmp_path / "norms.parquet")
    for name in ("norms.xlsx", "norms.parquet"):
        assert load_norms(tmp_path / name, rating_scale=(1, 7)).table["rating"].tolist() == list(RATED.values())
