"""How a module follows the axes it is declared on, one operator family a file."""

ROLE = "say what an elastic axis means for one operator family"
