"""Compares strategies on public tables under one protocol: searches, measures, rank tests, pages."""

from __future__ import annotations

from archsmith.comparison.entry import Entry, parse_entries, parse_entry
from archsmith.comparison.problem import PROBLEMS, Problem, parse_problem, parse_problems
from archsmith.comparison.runner import ComparisonOutcome, Step, compare
from archsmith.comparison.searching import search_table
from archsmith.comparison.summary import read_summary, summarise

__all__ = [
    "PROBLEMS",
    "ComparisonOutcome",
    "Entry",
    "Problem",
    "Step",
    "compare",
    "entry",
    "page",
    "parse_entries",
    "parse_entry",
    "parse_problem",
    "parse_problems",
    "problem",
    "read_summary",
    "search_table",
    "summarise",
    "summary",
    "text",
]
