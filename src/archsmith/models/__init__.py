"""Where models come from, one source a file."""

ROLE = "build the network that a name stands for"
