"""From sequences to counts: how a model's attention is reached, counted and stored."""
