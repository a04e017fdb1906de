"""What covariates and units are called for readers."""

__all__ = ["COVARIATE_NAMES"]

COVARIATE_NAMES = {
    "word_pieces": "word pieces a word",
    "characters": "characters a word",
    "zipf": "Zipf frequency",
    "tokens": "tokens a sequence",
    "words": "words a sequence",
    "answer_pieces": "word pieces of the answer",
    "answer_characters": "characters of the answer",
    "answer_zipf": "Zipf frequency of the answer",
    "rating": "concreteness rating",
}
