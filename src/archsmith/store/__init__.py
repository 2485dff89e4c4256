"""Everything a search learns, kept on disk: evaluations, written once, and a journal per run."""

from archsmith.store.journal import Journal, Line
from archsmith.store.store import Store

__all__ = ["Journal", "Line", "Store", "journal", "locks", "search_state"]
