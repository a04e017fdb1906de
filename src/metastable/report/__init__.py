"""The Markdown report, from templates."""
