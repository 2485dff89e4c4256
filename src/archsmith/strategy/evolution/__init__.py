"""Strategies that breed populations."""
