"""The search loop: a strategy proposes, an engine evaluates, the store keeps the results, the strategy is told."""

from archsmith.events import (
    Budget,
    Diverged,
    Evaluated,
    Event,
    Finished,
    Noted,
    Outcome,
    Replaying,
    Resumed,
    Started,
)
from archsmith.loop.searching import search

__all__ = [
    "Budget",
    "Diverged",
    "Evaluated",
    "Event",
    "Finished",
    "Noted",
    "Outcome",
    "Replaying",
    "Resumed",
    "Started",
    "search",
]
