"""The public functions of ``import archsmith``: from a model to a measured Pareto front."""

__all__ = ["accounting", "benchmarks", "exports", "job", "run"]
