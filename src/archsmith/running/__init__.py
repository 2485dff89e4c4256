"""Subnets at work: shadowed for one call, extracted for good, calibrated, relaxed to probabilities."""

__all__ = ["calibration", "extraction", "relaxed", "shadow"]
