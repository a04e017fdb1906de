"""Sweeps: one study over the product of lists of options, corrected as one analysis."""
