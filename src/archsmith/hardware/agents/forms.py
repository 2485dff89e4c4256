"""The forms of agents' requests and responses, and of measurements: data from elsewhere are checked.

Bounds are far above the values of any machine; they refuse what would fill the memory or overflow.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

from archsmith.files import misfit, parsed_json
from archsmith.hardware.agents.wire import LARGEST_BATCH, LARGEST_MIB, LONGEST_LIMIT_S

PRINTABLE = r"\A[^\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]*\Z"
"""No control characters, no marks that reorder text, no lone surrogates."""
Text = Annotated[str, Meta(max_length=1000, pattern=PRINTABLE)]
Word = Annotated[str, Meta(pattern=r"\A[a-z0-9_]{1,32}\Z")]
Spec = Annotated[str, Meta(min_length=1, max_length=300, pattern=PRINTABLE)]
Fingerprint = Annotated[str, Meta(pattern=r"\A[0-9a-f]{8,64}\Z")]
Positive = Annotated[float, Meta(gt=0, le=1e12)]
NotNegative = Annotated[float, Meta(ge=0, le=1e12)]
Count = Annotated[int, Meta(ge=1, le=1 << 40)]


class Environment(TypedDict):
    """A machine, as :func:`archsmith.hardware.environment` describes it."""

    machine: Text
    cpu: Text
    cores: Annotated[int, Meta(ge=1, le=1 << 20)]
    memory_gib: NotNegative | None
    os: Text
    python: Text
    packages: Annotated[dict[Text, Text], Meta(max_length=100)]


class Described(TypedDict):
    """The device and limits of an agent."""

    spec: Spec
    fingerprint: Fingerprint
    threads: Annotated[int, Meta(ge=1, le=1 << 20)]
    batch: Annotated[int, Meta(ge=1, le=LARGEST_BATCH)]
    precision: Word
    environment: Environment
    limit_s: Annotated[float, Meta(gt=0, le=LONGEST_LIMIT_S)]
    max_mib: Annotated[int, Meta(ge=1, le=LARGEST_MIB)]


class Anchor(TypedDict):
    """The reference's time on a quiet machine."""

    anchor_ms: Positive
    messages: Annotated[list[str], Meta(max_length=100)]
    fingerprint: Fingerprint


class Prepared(TypedDict):
    """A network that is loaded."""

    network: Fingerprint


class Memory(TypedDict):
    """Peak memory of a network."""

    peak_mib: NotNegative
    fingerprint: Fingerprint


class Measured(TypedDict):
    """A latency."""

    measurement: dict[str, Any]
    fingerprint: Fingerprint


class Refused(TypedDict):
    """A refusal and its reason."""

    error: Annotated[str, Meta(max_length=100)]
    message: Annotated[str, Meta(max_length=100_000)]


class Asked(TypedDict, total=False):
    """A request about a network or the reference."""

    network: Annotated[str, Meta(max_length=64)]
    effort: Annotated[str, Meta(max_length=64)]
    anchor_ms: Positive | None


class MeasurementForm(TypedDict):
    """A :class:`~archsmith.hardware.Measurement` as plain data."""

    latency_ms: Positive
    low: NotNegative
    high: Positive
    ratio: Positive
    anchor_ms: Positive
    reference_ms: Positive
    wall_p50_ms: Positive
    wall_p95_ms: Positive
    groups: Annotated[list[Positive], Meta(min_length=1, max_length=1000)]
    agreed: bool
    clock: Literal["cpu", "wall"]
    samples: Count
    calls_per_sample: Count
    repeats: Count
    threads: Annotated[int, Meta(ge=1, le=1 << 20)]
    load: NotNegative | None
    governor: Text | None
    effort: Literal["search", "final"]
    seconds: NotNegative
    device: NotRequired[Text]
    fingerprint: NotRequired[Text]
    raw: NotRequired[
        dict[Literal["candidate_cpu", "candidate_wall", "reference_cpu", "reference_wall"], list[NotNegative]]
    ]


def read_response(data: bytes, form: Any) -> dict[str, Any]:
    """Plain data of a form; fields that the form does not have are left out.

    Raises:
        ValueError: naming what is wrong.
    """
    found = parsed_json(data.decode("utf-8"))
    if wrong := misfit(found, form):
        raise ValueError(wrong)
    return {name: found[name] for name in form.__annotations__ if name in found}


def wrong_measurement(data: Any) -> str:
    """Why plain data are no measurement; empty where they are one."""
    if wrong := misfit(data, MeasurementForm):
        return wrong
    low, latency, high = data["low"], data["latency_ms"], data["high"]
    if not low <= latency <= high:
        return f"the interval from {low} to {high} ms does not contain the latency of {latency} ms"
    if not math.isclose(latency, data["ratio"] * data["anchor_ms"], rel_tol=1e-6):
        return f"{latency} ms is not {data['ratio']} times the {data['anchor_ms']} ms of the reference"
    return ""


def shown(text: str) -> str:
    """Text from elsewhere, safe to print: no control characters, at most 2000 characters."""
    cut = text if len(text) <= 2000 else f"{text[:2000]} ..."
    return "".join(c if c.isprintable() else " " for c in cut)
