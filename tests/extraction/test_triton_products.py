"""The products of attention on a card against torch's: on a card where there is one, else by Triton's interpreter."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed; it comes with the extra dev on Linux")

from metastable.extraction.triton_products import add_up_values, multiplies, multiply_queries_by_keys

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

pytestmark = pytest.mark.skipif(
    DEVICE == "cpu" and type(multiply_queries_by_keys.__globals__["_matrix"]).__name__ != "InterpretedFunction",
    reason="Triton was imported before tests/conftest.py asked for its interpreter",
)


def heads(n_batch, n_heads, n_tokens, size, dtype, seed):
    """Tensors as models make them: heads between the tokens of a sequence; whole numbers, so that sums are exact."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randint(-2, 3, (n_batch, n_tokens, n_heads, size), generator=generator)
    return numbers.to(dtype).to(DEVICE).transpose(1, 2)


@pytest.mark.parametrize("heads_first", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("n_queries", "n_keys", "size", "groups", "room"), [(1, 1, 1, 1, 1), (5, 20, 8, 2, 32), (140, 131, 33, 1, 144)]
)
def test_products_are_those_of_torch(heads_first, dtype, n_queries, n_keys, size, groups, room):
    query = heads(3, 4, n_queries, size, dtype, 1)
    key, value = (heads(3, 4 // groups, n_keys, size, dtype, seed) for seed in (2, 3))
    assert multiplies(query, key, value)
    # Of the second sequence on, the second and third head, all queries but the first.
    sequences, some, first = slice(1, 3), slice(1, 3), min(1, n_queries - 1)
    shape = (2, 2, n_queries - first, room)
    scores = torch.full(shape, torch.nan, dtype=dtype, device=DEVICE)[..., :n_keys]
    part = scores.transpose(0, 1) if heads_first else scores
    multiply_queries_by_keys(query, key, part, (1, 1, first))
    of_heads = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    expected = query[sequences, some, first:].float() @ of_heads[0][sequences, some].float().transpose(-1, -2)
    torch.testing.assert_close(part.float(), expected, rtol=0, atol=0)

    part.copy_(torch.randint(0, 3, part.shape, generator=torch.Generator().manual_seed(4)).to(dtype))
    output = torch.full((3, n_queries, 4, size), -7.0, dtype=dtype, device=DEVICE)
    add_up_values(part, value, output, (1, 1, first))
    found = output[sequences, first:, some].transpose(1, 2).float()
    exactly = (part.float() @ of_heads[1][sequences, some].float()).to(dtype).float()
    torch.testing.assert_close(found, exactly, rtol=0, atol=0)
    # Nothing else is written.
    assert bool((output[0] == -7).all())
    assert bool((output[:, :, [0, 3]] == -7).all())


def test_other_tensors_are_left_to_a_library():
    of_16_bits = torch.zeros(1, 1, 4, 8, dtype=torch.float16)
    assert multiplies(of_16_bits, of_16_bits, of_16_bits)
    assert not multiplies(of_16_bits.float(), of_16_bits.float(), of_16_bits.float())
    assert not multiplies(of_16_bits, of_16_bits.bfloat16(), of_16_bits)
    assert not multiplies(of_16_bits, of_16_bits.transpose(-1, -2), of_16_bits)
    assert not multiplies(of_16_bits, of_16_bits, torch.zeros(1, 1, 4, 300, dtype=torch.float16))
