"""Linear mixed models of many features that share one design."""
