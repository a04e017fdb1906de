"""A forward pass ends with the last layer that attends, where nothing after it is wanted."""

import pytest
import torch

from metastable.models.capture import reading
from metastable.models.encoders import load_encoder


@pytest.fixture(scope="module")
def encoder():
    return load_encoder(device="cpu")


def layers_read(encoder, n_layers):
    inputs = {"input_ids": torch.tensor([[101, 3899, 4937, 102]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    found, made = [], []
    hook = encoder.model.encoder.layer[-1].output.register_forward_hook(lambda *_: made.append(1))
    try:
        with reading(encoder.model, "interface", n_layers=n_layers) as read:
            for _ in range(2):
                read(inputs, lambda layer: found.append(layer.weights.clone()))
    finally:
        hook.remove()
    return torch.stack(found), len(made)


def test_the_weights_are_the_same_and_the_last_layers_output_is_not_made(encoder):
    whole, made = layers_read(encoder, None)
    assert made == 2
    (site,) = encoder.sites
    ended, made = layers_read(encoder, site.n_layers)
    assert made == 0
    assert torch.equal(whole, ended)
    assert len(ended) == 2 * site.n_layers


def test_a_model_that_attends_with_one_module_several_times_runs_to_its_end(encoder):
    first, last = encoder.model.encoder.layer[0], encoder.model.encoder.layer[-1]
    encoder.model.encoder.layer[-1] = first
    try:
        whole, made = layers_read(encoder, None)
        (site,) = encoder.sites
        again, made_again = layers_read(encoder, site.n_layers)
    finally:
        encoder.model.encoder.layer[-1] = last
    assert made == made_again == 4
    assert torch.equal(whole, again)
