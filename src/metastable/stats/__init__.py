"""Hypothesis tests for any array of units by features; knows no model and no file."""
