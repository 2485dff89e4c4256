# Parts of methods: no family of its own.
"""What strategies share: history, variation, predictions, acquisition."""
