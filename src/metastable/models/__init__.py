"""Models and their tokenizers: loaded, probed, and their attention reached."""
