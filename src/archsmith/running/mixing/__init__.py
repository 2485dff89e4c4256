"""How a relaxation mixes the options of its choices, one rule a file."""

ROLE = "mix the options of a relaxed supernet by their probabilities"
