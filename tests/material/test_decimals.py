"""Numbers with points and commas mean one thing, or both readings are named."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metastable.errors import InputError
from metastable.material.decimals import is_numeric, numbers, plain_numbers, read_number


def read(*cells, **limits):
    return numbers(cells, [f"a.csv, row {row}" for row in range(2, len(cells) + 2)], **limits)


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (("4.5", "3"), [4.5, 3]),
        (("4,5", "3", "1,25"), [4.5, 3, 1.25]),
        (("1.234,5", "2,5"), [1234.5, 2.5]),
        (("1,234.5", "2,345"), [1234.5, 2345]),
        (("1,234", "2,5"), [1.234, 2.5]),
        (("1,234,567", "2,345"), [1234567, 2345]),
        (("−1,5", "1e3"), [-1.5, 1000]),
        (("1 234,5", "0,123"), [1234.5, 0.123]),
    ],
)
def test_what_the_column_shows_decides(cells, values):
    assert read(*cells) == values


@pytest.mark.parametrize("cells", [("1,234", "2,345"), ("10,000",), ("4,500", "3")])
def test_a_comma_that_may_be_either_is_refused_with_both_readings(cells):
    with pytest.raises(InputError, match=r"row 2: .* may be .* decimal comma, or .* thousands"):
        read(*cells)


def test_a_scale_decides_what_the_column_does_not():
    assert read("4,500", "1,250", low=1, high=5) == [4.5, 1.25]
    with pytest.raises(InputError, match="may be"):
        read("1,234", low=0, high=2000)


def test_a_point_before_three_digits_among_decimal_commas_is_refused():
    with pytest.raises(InputError, match=r"row 3: .*'1\.234' may be 1\.234 or 1234"):
        read("2,5", "1.234")


def test_a_cell_that_says_that_it_holds_none_is_nan_and_a_word_is_refused():
    assert [math.isnan(value) for value in read("1", "NA", "", "nan")] == [False, True, True, True]
    with pytest.raises(InputError, match=r"a\.csv, row 3: 'many' is not a number"):
        read("1", "many")
    assert is_numeric(["1", "NA", "2,5"])
    assert not is_numeric(["NA", ""])
    assert not is_numeric(["1", "dog"])


@given(st.floats(-1e6, 1e6))
def test_what_python_writes_is_read_as_it_is(value):
    assert read_number(repr(value)) == (value,)


@given(st.integers(-(10**6), 10**6), st.integers(0, 99))
def test_a_decimal_comma_means_what_a_point_means(whole, hundredths):
    text = f"{whole}.{hundredths:02d}"
    assert read_number(text.replace(".", ",")) == (float(text),)


@given(st.lists(st.sampled_from(["4.5", " 3 ", "4,5", "1_0", "nan", "inf", "-1e3", "−2", "", "dog", "1.234", "٣"])))
def test_a_column_without_commas_is_read_at_once_as_it_is_cell_by_cell(cells):
    values = plain_numbers(cells)
    if values is not None:
        assert values == read(*cells)
    else:
        assert any("," in cell or not read_number(cell) or "−" in cell for cell in cells)
