"""Ask/tell strategies: what to evaluate next, one method a file."""

ROLE = "propose architectures from a seed and a history"
