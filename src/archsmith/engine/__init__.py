"""Where evaluations run, one method a file."""

ROLE = "run evaluations"
