"""What covariates are called for readers."""

__all__ = ["COVARIATE_NAMES"]

COVARIATE_NAMES = {
    "word_pieces": "word pieces per word",
    "characters": "characters per word",
    "zipf": "Zipf frequency",
    "tokens": "tokens per sequence",
    "words": "words per sequence",
    "answer_pieces": "word pieces of the answer",
    "answer_characters": "characters of the answer",
    "answer_zipf": "Zipf frequency of the answer",
    "rating": "concreteness rating",
    "distinct_pieces": "distinct word pieces (types over tokens)",
    "word_likeness": "likeness of its words (mean cosine)",
}
