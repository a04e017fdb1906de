"""What covariates and units are called for readers."""

__all__ = ["COVARIATE_NAMES"]

COVARIATE_NAMES = {
    "word_pieces": "word pieces a word",
    "characters": "characters a word",
    "zipf": "Zipf frequency",
    "tokens": "tokens a sequence",
    "words": "words a sequence",
}
