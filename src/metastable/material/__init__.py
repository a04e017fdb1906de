"""From words, ratings, texts and corpora to the sequences of a study."""
