"""Fixtures of the tests that open pages in a browser."""

from __future__ import annotations

from tests.results.browsing import chromium
from tests.results.viewing import mixed, pages

__all__ = ["chromium", "mixed", "pages"]
