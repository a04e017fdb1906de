"""Permutation tests of many features at once."""
