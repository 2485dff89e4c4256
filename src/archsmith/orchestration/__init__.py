"""One search after training: specification, devices, evaluators, baseline, last check."""

__all__ = ["conducting", "metrics", "reachable", "specification"]
