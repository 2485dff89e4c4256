"""What can vary in any model: traced, found, proved."""
