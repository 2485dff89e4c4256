"""Builds the supernet that a name or a run's source describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from archsmith import method as registry
from archsmith.data.base import AnyData
from archsmith.errors import ArchsmithError, InvalidModel, InvalidOption, UnknownName
from archsmith.models import FORMS, refuse_fetching, source_named
from archsmith.progress import SILENT, Reporter
from archsmith.source.elasticity import elastic
from archsmith.source.options import check_takes, plain_elastic
from archsmith.supernet import Supernet
from archsmith.trust import refuse_large

_UNLIMITED_SIZES = ("classes", "tokens", "vocabulary")
"""Options that may be larger than ``trust.LARGEST_SIZE``: the cost grows only linearly with them."""


DATA_OPTIONS = ("channels", "classes", "image_size", "tokens", "vocabulary")
"""Options that a source of models gets from the data."""


def build(source: Mapping[str, Any], *, seed: int = 0, weights: bool = True, reporter: Reporter = SILENT) -> Supernet:
    """The untrained supernet that ``source`` describes.

    Args:
        source: ``{"network": NAME, "options": {...}}``, ``{"factory": "module:function", "options": {...}}`` or
            ``{"model": "timm/NAME", "options": {...}}``; the latter two may say ``"elastic": {...}``, which are
            options of :func:`archsmith.elastic`.
        seed: of the initial weights; torch's own generator is left as it was.
        weights: whether to load pretrained weights, where the source asks for them; ``False`` where others are loaded
            afterwards.
        reporter: gets progress: tracing a published model takes seconds.

    Raises:
        UnknownName: when there is no such network.
        InvalidModel: when the source returns no network, or one with nothing elastic.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _built(source, weights=weights, reporter=reporter)


def rebuild(source: Mapping[str, Any], *, reporter: Reporter = SILENT) -> Supernet:
    """:func:`build` without pretrained weights, for weights that are loaded from a file: nothing is downloaded."""
    return build(source, weights=False, reporter=reporter)


def check_model(model: str, elastic: Mapping[str, Any] | Sequence[str]) -> None:
    """Check a model's name and options, as far as possible before the data are read.

    Args:
        model: its name.
        elastic: options of :func:`archsmith.elastic`, or texts of them.

    Raises:
        UnknownName: naming the nearest.
        MissingExtra: when the package that it comes from is not installed.
        InvalidOption: for options of elasticity that are wrong, or that have no effect on this network.
    """
    wanted = plain_elastic(elastic)
    if "/" in model or ":" in model:
        return source_named(model).check(model)
    try:
        registry.load("supernet.networks", model)
    except UnknownName as error:
        raise UnknownName(f"{error}; other models are written {FORMS}") from error
    return check_takes(model, None, wanted)


def _built(source: Mapping[str, Any], *, weights: bool, reporter: Reporter) -> Supernet:
    options, wanted = dict(source["options"]), plain_elastic(source.get("elastic", {}))
    name = next(source[kind] for kind in ("network", "model", "factory") if kind in source)
    refuse_large(f"build {name}", [{k: v for k, v in options.items() if k not in _UNLIMITED_SIZES}, wanted])
    if "network" in source:
        network = registry.load("supernet.networks", name)
        registry.check_options(network.build, options)
        try:
            found = network.build(**options)
        except ArchsmithError:
            raise
        except (TypeError, ValueError, RuntimeError) as error:  # raised for values of a wrong type
            given = ", ".join(f"{k}={v!r}" for k, v in options.items())
            raise InvalidOption(f"{name}({given}) cannot be built: {error}; lists are written NAME=1,2") from error
    else:
        try:
            example = _example(options)
        except (TypeError, ValueError, KeyError, RuntimeError, MemoryError) as error:
            raise InvalidOption(f"no inputs can be made for {name} with {options}: {error}") from error
        shape = {key: options.pop(key, None) for key in DATA_OPTIONS}
        refuse_fetching(name, options)
        maker = source_named(name)
        found = maker.build(name, **shape, **(options if weights else {**options, **maker.without_weights}))
    check_takes(name, found, wanted)
    if isinstance(found, Supernet):
        return found
    if example is None:
        raise InvalidModel(f"{source} returns a plain module; return archsmith.elastic(module, example_inputs)")
    return elastic(found, example, **wanted, on_progress=reporter.on_progress)


def _example(options: dict[str, Any]) -> Any:
    """Inputs of one call in the shape of a source's data; ``None`` where the source does not record it.

    Images are zeros; texts are random token ids, every second text padded.
    """
    names = options.pop("inputs", None)
    if options.get("image_size"):
        return torch.zeros(2, options["channels"], *options["image_size"])
    if not names:
        return None
    tokens, rng = options["tokens"], np.random.default_rng(0)
    mask = torch.ones(2, tokens, dtype=torch.long)
    mask[1, 1 + tokens // 2 :] = 0
    known = {
        "input_ids": torch.from_numpy(rng.integers(0, options["vocabulary"], (2, tokens))),
        "attention_mask": mask,
        "token_type_ids": 1 - mask,  # a second text where the first has its padding
    }
    return {name: known[name] for name in names}


def source_of(
    model: str, options: Mapping[str, Any], data: AnyData, elastic: Mapping[str, Any] | Sequence[str] = ()
) -> dict[str, Any]:
    """How to build the network that ``model`` names for ``data``, as plain data.

    Args:
        model: its name.
        options: of the network.
        data: data that it is built for.
        elastic: options of :func:`archsmith.elastic`, for models that are made elastic.

    Raises:
        InvalidOption: for an option that is set by the data.
        InvalidModel: for a built-in network with data of another kind.
    """
    shape = data.network_options
    if wrong := [f"{name}={options[name]!r}" for name in shape if name in options]:
        raise InvalidOption(
            f"the network is built for the data, which determine {', '.join(shape)}; leave out {', '.join(wrong)}"
        )
    kind = "model" if "/" in model else "factory" if ":" in model else "network"
    if kind == "network" and "tokens" in shape:
        raise InvalidModel(f"{model} is a network for images, the data are texts; give --model hf/FOLDER, or {FORMS}")
    return {
        kind: model,
        "options": {**shape, **{k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}},
        **({"elastic": plain_elastic(elastic)} if elastic else {}),  # runs without them keep the source they had
    }
