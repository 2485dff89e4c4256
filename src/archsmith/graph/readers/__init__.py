"""What reads operator graphs, one kind of source a file."""
