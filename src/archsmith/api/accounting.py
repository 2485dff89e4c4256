"""Builds the supernet of a search without training it, to see what is elastic in a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archsmith.data import open_data
from archsmith.progress import Listener, Reporter, nobody
from archsmith.source.building import build, check_model, source_of
from archsmith.supernet import Supernet


def untrained(
    data: str,
    model: str,
    *,
    data_options: Mapping[str, Any] | None = None,
    model_options: Mapping[str, Any] | None = None,
    elastic: Mapping[str, Any] | Sequence[str] = (),
    resize: int | None = None,
    on_progress: Listener = nobody,
) -> Supernet:
    """The supernet of a named model, as a search on these data would build it; no weights are downloaded.

    Args:
        data: what :func:`archsmith.open_data` reads; the network is built for its shape and classes.
        model: name of the network.
        data_options: of the data's format.
        model_options: of the network.
        elastic: options of :func:`archsmith.elastic`, or texts of them such as ``["width=0.5,1"]``.
        resize: images to this height and width.
        on_progress: called with progress.

    Raises:
        UserError: for anything unknown or contradictory.
    """
    reporter = Reporter(on_progress)
    check_model(model, elastic)
    reporter.at("data").progress(f"reading {data}")
    found = open_data(data, resize=resize, options=data_options or {})
    source = source_of(model, model_options or {}, found, elastic)
    return build(source, weights=False, reporter=reporter)
