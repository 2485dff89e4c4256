"""Strategies that maximise an acquisition over a posterior."""
