"""Where the templates of reports lie, and how they are filled."""

from __future__ import annotations

import jinja2

__all__ = ["environment"]


def environment() -> jinja2.Environment:
    """Return the environment that every report's template is read from."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("metastable.report", "templates"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # Markdown: what comes from users is escaped where it enters
        keep_trailing_newline=True,
    )
