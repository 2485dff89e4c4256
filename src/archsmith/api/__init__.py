"""What ``import archsmith`` shows: from a model to a measured Pareto front."""
