"""Tests that generalize over two samples at once: the items, and the contexts that carry them."""
