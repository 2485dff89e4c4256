"""What one search needs and does."""
