"""archsmith: hardware-aware neural architecture search on your own network, measured on your own runtime.

Everything public is listed in ``__all__`` and loaded when it is first used: ``import archsmith`` itself
loads neither torch nor scikit-learn nor pandas.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "ArchsmithError": "archsmith.errors",
    "Choice": "archsmith.space",
    "ChoiceSpace": "archsmith.space",
    "Depth": "archsmith.supernet",
    "Elastic": "archsmith.supernet",
    "Front": "archsmith.api.front",
    "Job": "archsmith.api.job",
    "Kernel": "archsmith.supernet",
    "Optional": "archsmith.supernet",
    "Relaxed": "archsmith.supernet",
    "Run": "archsmith.api.run",
    "Supernet": "archsmith.supernet",
    "Switch": "archsmith.supernet",
    "UserMetric": "archsmith.evaluator.user_metric",
    "Width": "archsmith.supernet",
    "elastic": "archsmith.api.building",
    "open_data": "archsmith.data",
    "search": "archsmith.api.searching",
    "train": "archsmith.training._loop",
}

__all__ = ["__version__", *_WHERE]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'archsmith' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
