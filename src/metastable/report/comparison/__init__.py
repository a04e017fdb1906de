"""The report of two studies side by side."""
