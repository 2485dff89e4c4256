"""Hand-written supernets, one network a file."""

ROLE = "hand-written networks with choices in them"
