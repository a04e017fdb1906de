"""Pictures of results, each a function of data that returns a matplotlib figure."""
