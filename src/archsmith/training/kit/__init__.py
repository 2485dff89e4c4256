# Parts of methods: no family of its own.
"""Shared by all trainings: the loop over epochs, batches, optimisers, checkpoints."""
