# Parts of methods: no family of its own.
"""What trainings share: the loop over epochs, batches, optimisers, checkpoints."""
