"""Subnets at work: shadowed for one call, extracted for good, calibrated, relaxed to probabilities."""
