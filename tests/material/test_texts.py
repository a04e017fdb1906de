"""Texts of a file become sequences: what is read, what is cut, and what is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metastable.errors import InputError
from metastable.material.texts import MAX_LENGTH, read_texts, text_material, text_study
from metastable.models.encoders import load_tokenizer
from metastable.study import Claim
from metastable.study.own_options import options_for

TOKENIZER = load_tokenizer()


def write(folder, text, name="texts.csv"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_keep_their_numbers_and_columns_any_order_and_case(tmp_path):
    path = write(tmp_path, "note, Text ,CONDITION\nx,a red fox,near\n\ny,an old idea,far\n")
    table = read_texts(path)
    assert [(row.number, row.condition, row.text) for row in table.rows] == [
        (2, "near", "a red fox"),
        (4, "far", "an old idea"),
    ]
    assert table.conditions == ("near", "far")
    assert table.unused == ("note",)
    assert (table.design.paired, table.design.clustered) == (False, False)


def test_tabs_and_workbooks_are_read_alike(tmp_path):
    import openpyxl

    rows = [("condition", "text", "pair"), ("x", "one, two", "p"), ("y", "three", "p")]
    tsv = write(tmp_path, "".join("\t".join(row) + "\n" for row in rows), "t.tsv")
    workbook = openpyxl.Workbook()
    for row in rows:
        workbook.active.append(row)
    workbook.save(tmp_path / "t.xlsx")
    first, second = read_texts(tsv), read_texts(tmp_path / "t.xlsx")
    assert first.rows == second.rows
    assert first.design.paired


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "texts.csv is empty"),
        ("condition,words\na,b\n", "row 1: there is no column text"),
        ("text\nhello\n", "row 1: there is no column condition"),
        ("condition,text,text\na,b,c\n", "row 1: the column text is there twice"),
        ("condition,text\n", "holds no text"),
        ("condition,text\na,one\na,two\n", "only the condition 'a'"),
        (
            "condition,text\na,one\nb,two\nc,three\n",
            "texts.csv has 3 conditions, a (1 texts), b (1 texts) and c (1 texts); pick two by --a and --b",
        ),
        ("condition,text\na,one\nb,\n", "row 3: the cell of the column text is empty"),
        ("condition,text\na,one\n,two\n", "row 3: the cell of the column condition is empty"),
        ("condition,text,cluster\na,one,x\nb,two,\n", "row 3: the cell of the column cluster is empty"),
        ("condition,text\na|b,one\nb,two\n", "row 2: 'a|b' cannot name a condition"),
        (f"condition,text\n{'a' * 41},one\nb,two\n", "cannot name a condition"),
    ],
)
def test_bad_tables_are_refused_by_row(tmp_path, text, complaint):
    with pytest.raises(InputError) as error:
        read_texts(write(tmp_path, text))
    assert complaint in str(error.value)


PIECES = ["a", "incomprehensibility", "cat,", "sat;", "e-mail", "naïve", "42", "house"]


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=30),
    st.integers(8, 24),
)
def test_what_is_kept_is_the_longest_beginning_of_whole_words_that_fits(tmp_path_factory, words, longest):
    path = write(tmp_path_factory.mktemp("t"), f'condition,text\nx,"{" ".join(words)}"\ny,other\n')
    sequence = text_material(read_texts(path), TOKENIZER, longest).sequences[0]
    n = len(sequence.words)
    assert sequence.words == tuple(words[:n])
    assert TOKENIZER.encode(sequence.text).token_ids == sequence.token_ids
    assert len(sequence.token_ids) <= longest
    if n < len(words):
        assert len(TOKENIZER.encode_words(words[: n + 1]).token_ids) > longest
    assert sequence.covariates["tokens"] == len(sequence.token_ids)
    assert sequence.covariates["words"] == n


def test_the_notes_count_what_was_cut_and_what_occurs_again(tmp_path):
    path = write(tmp_path, "condition,text,more\nx,one two three four,\nx,one,\nx,one,\ny,one,\ny,six,z\n")
    notes = " / ".join(text_material(read_texts(path), TOKENIZER, 4).notes)
    assert "x: 3 texts, 1 cut to 4 tokens" in notes
    assert "y: 2 texts, 0 cut to 4 tokens" in notes
    assert "occur more than once: 1 of x;" in notes
    assert "1 text occurs in both conditions" in notes
    assert "the column more is not used" in notes


@pytest.mark.parametrize(
    ("text", "longest", "complaint"),
    [
        ("one", 2, "row 2: --max-length 2 is too short for its first word 'one'"),
        ("incomprehensibility", 4, "row 2: --max-length 4 is too short"),
        ("one", 513, "reads at most 512 tokens"),
        ("\u200b", 20, "row 2: the tokenizer of all-MiniLM-L6-v2 makes no token"),
    ],
)
def test_what_can_not_be_read_is_refused_by_row(tmp_path, text, longest, complaint):
    path = write(tmp_path, f"condition,text\nx,{text}\ny,fine\n")
    with pytest.raises(InputError) as error:
        text_material(read_texts(path), TOKENIZER, longest)
    assert complaint in str(error.value)


def test_the_study_puts_the_condition_asked_for_first(tmp_path):
    table = read_texts(write(tmp_path, "condition,text,cluster\nx,one,k\ny,two,l\n"))
    claim = Claim(statement="some heads differ")
    study = text_study(table, name="mine", a="y", claims=(claim,))
    assert [condition.name for condition in study.conditions] == ["y", "x"]
    assert study.claims == (claim,)
    assert study.design.clustered
    assert study.options == (MAX_LENGTH,)
    material = study.build(options_for(study), TOKENIZER)
    assert [sequence.cluster for sequence in material.sequences] == ["k", "l"]
    with pytest.raises(InputError, match=r"--a z: texts\.csv has the conditions x and y"):
        text_study(table, name="mine", a="z")


def material_of(folder, *texts):
    rows = "".join(f"{'ab'[index % 2]}\t{text}\n" for index, text in enumerate(texts))
    return text_material(read_texts(write(folder, "condition\ttext\n" + rows, "t.tsv")), TOKENIZER)


def test_names_of_special_tokens_are_letters_and_are_told(tmp_path):
    made = material_of(tmp_path, "The [SEP] cat [MASK] sat [CLS] home [PAD] [PAD]", "an old idea")
    sequence = made.sequences[0]
    special = [token for token, word in zip(sequence.token_ids, sequence.word_index, strict=True) if word < 0]
    assert TOKENIZER.tokens(special) == ("[CLS]", "[SEP]")
    inner = TOKENIZER.tokens(sequence.token_ids[1:-1])
    assert not {"[SEP]", "[CLS]", "[PAD]", "[MASK]"} & set(inner)
    assert len(sequence.words) == 9
    assert "1 text holds the name of a special token, read as the letters that it is: row 2 (SEP)" in made.notes


def test_what_the_vocabulary_lacks_is_told(tmp_path):
    made = material_of(tmp_path, "🙂🙂 smiles", "Wie geht's?", "مرحبا", "plain words")
    (note,) = [note for note in made.notes if "lacks" in note]
    assert "lacks a piece of 1 word," in note
    assert "🙂🙂 (row 2)" in note
    assert [len(sequence.words) for sequence in made.sequences] == [2, 2, 1, 2]
    assert not [note for note in material_of(tmp_path, "one", "two").notes if "hold" in note]


def test_composed_and_decomposed_letters_are_one_word(tmp_path):
    made = material_of(tmp_path, "nai\u0308ve", "na\u00efve")
    assert {sequence.words for sequence in made.sequences} == {("na\u00efve",)}
    assert "1 text occurs in both conditions" in made.notes


def test_characters_that_turn_the_direction_of_writing_are_left_out_and_told(tmp_path):
    made = material_of(tmp_path, "safe \u202eevil\u202c words", "others")
    assert made.sequences[0].text == "safe evil words"
    assert any("turn the direction of writing were left out of 1 row: 2" in note for note in made.notes)
    assert read_texts(write(tmp_path, "condition,text\na\u202eb,x\nc,y\n")).conditions == ("ab", "c")


def test_a_text_of_a_book_is_read_and_cut(tmp_path):
    table = read_texts(write(tmp_path, "condition,text\na," + "word " * 32_000 + "\nb,short\n"))
    made = text_material(table, TOKENIZER)
    assert len(made.sequences[0].token_ids) <= TOKENIZER.max_length
    assert "a: 1 text, 1 cut to 512 tokens" in made.notes


def test_contexts_of_a_file_reach_the_sequences_and_none_may_be_empty(tmp_path):
    table = read_texts(write(tmp_path, "condition,text,pair,context\nx,one,k,frame 1\ny,two,k,frame 2\n"))
    assert [row.context for row in table.rows] == ["frame 1", "frame 2"]
    assert table.design.paired
    assert [s.context for s in text_material(table, TOKENIZER).sequences] == ["frame 1", "frame 2"]
    with pytest.raises(InputError, match="row 3: the cell of the column context is empty"):
        read_texts(write(tmp_path, "condition,text,context\na,one,x\nb,two,\n"))
