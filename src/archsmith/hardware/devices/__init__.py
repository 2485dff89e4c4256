"""Devices: a runtime on this machine that networks are measured on, one a file."""

ROLE = "run a network on the hardware that counts"
