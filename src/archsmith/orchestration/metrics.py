"""The metrics that a search can use, and the evaluators of those that are computed from the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from archsmith.errors import InvalidOption
from archsmith.evaluator.file_size import FileSize
from archsmith.evaluator.footprint import Footprint
from archsmith.evaluator.kv_cache import KvCache
from archsmith.evaluator.user_metric import UserMetric
from archsmith.hardware.named import device_metrics

COMPUTED_METRICS: Mapping[type[FileSize] | type[Footprint] | type[KvCache], tuple[str, ...]] = {
    FileSize: ("size_mib",),
    Footprint: ("live_memory_mib", "arithmetic_intensity"),
    KvCache: ("kv_cache_mib",),
}
"""Evaluator -> its metrics, computed from the network; it runs only where one of them is an objective or a limit."""


def available_metrics(metrics: Sequence[UserMetric], on: Mapping[str, str]) -> list[str]:
    """Names that objectives and limits may use.

    Args:
        metrics: the user's own.
        on: the devices by name.

    Raises:
        InvalidOption: for metrics that are no :class:`UserMetric`.
    """
    if not isinstance(metrics, Sequence) or not all(isinstance(m, UserMetric) for m in metrics):
        raise InvalidOption(f"metrics={metrics!r} must be a list of smith.UserMetric(name, function)")
    computed = [name for names in COMPUTED_METRICS.values() for name in names]
    own = [m.name for metric in metrics for m in metric.metrics]
    return ["accuracy_top1", *device_metrics(on), "params", "macs", *computed, *own]
