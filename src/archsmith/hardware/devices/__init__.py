"""Devices: runtimes to measure networks on, one a file."""

ROLE = "run a network on the hardware that counts"
