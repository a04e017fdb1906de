"""The head browser: one html file in which a reader points at a head and sees what it does."""

from metastable.browser.attention import HeadAttention, Token, attention_of
from metastable.browser.html_page import write_browser
from metastable.browser.run_browser import write_run_browser

__all__ = ["HeadAttention", "Token", "attention_of", "write_browser", "write_run_browser"]
