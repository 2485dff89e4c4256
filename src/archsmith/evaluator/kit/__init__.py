# Parts of methods: no family of its own.
"""What evaluators share."""
