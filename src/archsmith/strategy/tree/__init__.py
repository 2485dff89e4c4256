"""Strategies that split the space in a tree."""
