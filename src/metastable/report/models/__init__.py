"""The report of a study over many models."""
