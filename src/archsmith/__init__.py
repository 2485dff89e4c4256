"""archsmith: hardware-aware neural architecture search on your own network, measured on your own runtime.

Everything public is listed in ``__all__`` and loaded when it is first used: ``import archsmith`` itself
loads neither torch nor scikit-learn nor pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from archsmith.version import __version__

if TYPE_CHECKING:  # for editors and type checkers; at run time names are loaded when they are used
    from archsmith.api.front import Front
    from archsmith.api.job import Job
    from archsmith.api.run import Run
    from archsmith.api.searching import search
    from archsmith.candidates.precisions import Precisions
    from archsmith.data import open_data
    from archsmith.delivery.verifying import verify_file
    from archsmith.errors import ArchsmithError
    from archsmith.evaluator.user_metric import UserMetric
    from archsmith.source.elasticity import elastic
    from archsmith.space import Choice, ChoiceSpace
    from archsmith.supernet import Depth, Elastic, Kernel, Optional, Relaxed, Supernet, Switch, Width
    from archsmith.training.kit.loop import train

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
    "Precisions": "archsmith.candidates.precisions",
    "Relaxed": "archsmith.supernet",
    "Run": "archsmith.api.run",
    "Supernet": "archsmith.supernet",
    "Switch": "archsmith.supernet",
    "UserMetric": "archsmith.evaluator.user_metric",
    "Width": "archsmith.supernet",
    "elastic": "archsmith.source.elasticity",
    "open_data": "archsmith.data",
    "search": "archsmith.api.searching",
    "train": "archsmith.training.kit.loop",
    "verify_file": "archsmith.delivery.verifying",
}

__all__ = [
    "ArchsmithError",
    "Choice",
    "ChoiceSpace",
    "Depth",
    "Elastic",
    "Front",
    "Job",
    "Kernel",
    "Optional",
    "Precisions",
    "Relaxed",
    "Run",
    "Supernet",
    "Switch",
    "UserMetric",
    "Width",
    "__version__",
    "elastic",
    "open_data",
    "search",
    "train",
    "verify_file",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'archsmith' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_WHERE[name]), name)
    except ModuleNotFoundError as error:
        from archsmith.errors import missing_extra

        if (missing := missing_extra(error)) is None:
            raise
        raise missing from error


def __dir__() -> list[str]:
    return sorted(__all__)
