"""The trained weights and calibration batches of a run, as files in its folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from archsmith.errors import DamagedFile, RunMismatch, require
from archsmith.files import replacing
from archsmith.running.calibration import CalibrationBatch
from archsmith.runs.folder import RunFolder
from archsmith.supernet import Supernet

WEIGHTS = ("supernet", "calibration")
"""The files that :func:`save_weights` writes, without ``.safetensors``."""


_WAY_OUT = "restore it, or give the run's `archsmith search` command again: it makes the file anew"


def save_weights(run: RunFolder, supernet: Supernet) -> None:
    """Save the trained weights and the calibration batches in the run's folder."""
    safetensors = require("safetensors.torch", extra="torch", purpose="saving the supernet's weights")
    for name, tensors in (
        # copies: tied weights are stored under each of their names, as load_state_dict wants them
        ("supernet", {k: v.detach().cpu().contiguous().clone() for k, v in supernet.state_dict().items()}),
        ("calibration", _flat(supernet.calibration)),
    ):
        with replacing(run.path / f"{name}.safetensors") as temporary:
            temporary.write_bytes(safetensors.save(tensors))  # safetensors' own writer does not report a full disk


def load_weights(run: RunFolder, supernet: Supernet) -> None:
    """Load the saved weights and calibration batches into ``supernet``.

    Raises:
        DamagedFile: when a file is missing or cannot be read.
        RunMismatch: when the weights are those of another network.
    """
    weights, batches = _load(run, "supernet"), _batches(_load(run, "calibration"))
    try:
        supernet.load_state_dict(weights)
    except RuntimeError as error:
        raise RunMismatch(f"the weights in {run.path} no longer fit the network: {error}") from error
    if batches:
        supernet.record_calibration(batches)
    if supernet.weights_fingerprint != run.weights:
        raise DamagedFile(f"{run.path / 'supernet.safetensors'} holds other weights than the run's; {_WAY_OUT}")


def _load(run: RunFolder, name: str) -> dict[str, Tensor]:
    safetensors = require("safetensors.torch", extra="torch", purpose="loading the supernet's weights")
    path = run.path / f"{name}.safetensors"
    if not path.is_file():
        raise DamagedFile(f"{path} is missing; give the run's `archsmith search` command again to make it")
    try:
        found: dict[str, Tensor] = safetensors.load_file(path)
    except Exception as error:  # safetensors raises a class of its own that is not exported
        raise DamagedFile(f"{path} cannot be read ({error}); {_WAY_OUT}") from error
    return found


def _flat(batches: Iterable[CalibrationBatch]) -> dict[str, Tensor]:
    """Batches as named tensors: ``0.1`` is the second input of the first batch, ``0.mask`` a named one."""
    found: dict[str, Tensor] = {}
    for number, batch in enumerate(batches):
        parts = batch.keywords.items() or enumerate(batch.inputs)
        found |= {f"{number}.{key}": tensor.detach().cpu().contiguous() for key, tensor in parts}
    return found


def _batches(flat: Mapping[str, Tensor]) -> list[Any]:
    grouped: dict[int, dict[str, Tensor]] = {}
    for name, tensor in flat.items():
        number, _, key = name.partition(".")
        if not (number.isascii() and number.isdigit()):
            raise DamagedFile(f"calibration batches are called NUMBER.INPUT, not {name!r}; {_WAY_OUT}")
        grouped.setdefault(int(number), {})[key] = tensor
    found: list[Any] = []
    for _, parts in sorted(grouped.items()):
        positional = all(key.isascii() and key.isdigit() for key in parts)
        inputs = tuple(parts[k] for k in sorted(parts, key=int)) if positional else parts
        found.append((inputs, None))  # as a pair of inputs and targets, of which only the inputs are read
    return found
