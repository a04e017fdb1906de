"""The report: Markdown from templates, with its figures."""

from metastable.report.render import write_report

__all__ = ["write_report"]
