"""Statistical hypothesis tests on transformer attention heads."""
