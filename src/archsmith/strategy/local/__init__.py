"""Strategies that move between neighbours."""
