"""Strategies that rank many architectures by a fitted predictor."""
