"""What operators do to axes, one operator family a file."""

ROLE = "operators whose axes can be followed through a network"
