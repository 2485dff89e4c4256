"""Strategies that learn the distribution that they sample from."""
