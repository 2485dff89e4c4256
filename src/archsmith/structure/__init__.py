"""What can vary in a network, as data: axes of tensors, choice modules, rules of operators, blocks that may go."""

__all__ = ["axes", "blocks", "calls", "choices", "passing", "policies", "resolution", "rules", "structure", "units"]
