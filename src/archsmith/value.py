"""A finite number with its source and its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from archsmith.errors import EvaluationFailed, InvalidOption

Source = Literal["measured", "computed", "predicted", "table", "modelled"]
"""Where a value comes from: a run on real data or hardware; arithmetic on the network; a fitted model; a published
table; a model of the hardware with stated constants that were not fitted to it."""


@dataclass(frozen=True)
class Value:
    """A finite number with its source and, where known, its 95 % interval.

    Without an interval ``low`` and ``high`` equal ``value``.

    Raises:
        EvaluationFailed: for NaN or infinity, which are failures and never values.
        InvalidOption: for an interval that does not contain the value.
    """

    value: float
    source: Source
    low: float = math.nan
    high: float = math.nan

    def __post_init__(self) -> None:
        if self.source not in get_args(Source):
            raise InvalidOption(f"a value's source is one of {get_args(Source)}, got {self.source!r}")
        if not math.isfinite(self.value):
            raise EvaluationFailed(f"a value must be finite, got {self.value}")
        for end in ("low", "high"):
            if math.isnan(getattr(self, end)):
                object.__setattr__(self, end, self.value)
        if not self.low <= self.value <= self.high:
            raise InvalidOption(f"the interval [{self.low}, {self.high}] does not hold the value {self.value}")

    @property
    def has_interval(self) -> bool:
        """Whether an interval is known."""
        return self.low < self.high

    def to_json(self) -> dict[str, Any]:
        """Plain data; the interval only where there is one."""
        core = {"value": self.value, "source": self.source}
        return core | ({"low": self.low, "high": self.high} if self.has_interval else {})
