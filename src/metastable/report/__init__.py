"""The report: Markdown from templates, with its figures."""

from metastable.report.index import write_index
from metastable.report.run.page import write_report
from metastable.report.run.verdict_sentences import verdict_record

__all__ = ["verdict_record", "write_index", "write_report"]
