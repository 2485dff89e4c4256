"""The database of a search: evaluations, each stored once, and a journal per run."""

from archsmith.store.journal import Journal, Line
from archsmith.store.store import Store

__all__ = ["Journal", "Line", "Store", "journal", "locks", "search_state"]
