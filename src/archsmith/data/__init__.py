"""Where images and labels come from, one format a file."""

ROLE = "read training, validation and test splits"
