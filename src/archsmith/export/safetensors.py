"""safetensors for the weights, JSON for the architecture."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypedDict, final

import torch
from torch import Tensor, nn

from archsmith.architecture import Architecture
from archsmith.errors import DamagedFile, InvalidArchitecture, InvalidModel, InvalidOption, RunMismatch, require
from archsmith.export.base import FileFormat, Origin, WrittenFile, check_suffix
from archsmith.files import misfit, read_json, replacing, sha256, write_json
from archsmith.method import OURS
from archsmith.origin import misfit_of_model
from archsmith.plan import Plan

FORMAT = "archsmith network"
VERSION = 1
ARCHITECTURE_SUFFIX = ".architecture.json"
MAX_INPUT_VALUES = 1 << 28
"""Largest number of values in an input that is made from a file's description."""


class _Weights(TypedDict):
    file: str
    sha256: str


class _Described(TypedDict):
    format: str
    version: int
    source: dict[str, Any]
    architecture: dict[str, Any]
    plan: dict[str, Any]
    inputs: list[dict[str, Any]]
    weights: _Weights


class Extracts(Protocol):
    """What a builder must return: a supernet."""

    def plan(self, arch: Architecture, /) -> Plan:
        """What the architecture means for every tensor."""

    def extract(self, arch: Architecture, /) -> nn.Module:
        """The subnet as a plain module."""


@final
class Safetensors(FileFormat):
    """Weights as safetensors, and a JSON file from which the module is built again; never a pickle.

    ``NAME.architecture.json`` holds where the supernet comes from, the architecture, its plan, the shapes of the
    inputs (for integers their values: token ids are not drawn at random) and the hash of
    ``NAME.safetensors``; :func:`load_network` reads it back.
    """

    paper = OURS
    suffix: ClassVar[str] = ".safetensors"

    def write(
        self,
        module: nn.Module,
        example_inputs: tuple[Any, ...],
        path: Path,
        *,
        names: Sequence[str] = (),
        origin: Origin | None = None,
    ) -> WrittenFile:
        """Write weights and architecture.

        Raises:
            InvalidOption: when ``path`` does not end in ``.safetensors``, or the origin is missing.
            InvalidModel: when the state of the module is more than tensors.
            StorageFull: when the disk is full.
        """
        check_suffix(path, self.suffix)
        if origin is None:
            raise InvalidOption(f"{path} holds weights only; give the origin= from which the network is built again")
        library = require("safetensors.torch", extra="torch", purpose="Exporting to safetensors")
        weights = _weights(module)
        with replacing(path) as temporary:
            temporary.write_bytes(library.save(weights))  # its own writer does not report a full disk
        described = path.with_suffix(ARCHITECTURE_SUFFIX)
        write_json(
            described,
            {
                "format": FORMAT,
                "version": VERSION,
                "source": dict(origin.source),
                "architecture": origin.architecture.to_json(),
                "plan": origin.plan.to_json(),
                "inputs": [_described(x, name) for x, name in zip_longest(example_inputs, names)],
                "weights": {"file": path.name, "sha256": sha256(path)},
            },
        )
        return WrittenFile(paths=(path, described), details={"format": FORMAT, "version": VERSION})


def load_network(path: Path, build: Callable[[Mapping[str, Any]], Extracts]) -> nn.Module:
    """The module that ``NAME.safetensors`` (or ``NAME.architecture.json``) holds, in evaluation mode.

    Args:
        path: of either file; the other lies beside it.
        build: makes the supernet from its source; its weights do not matter.

    Raises:
        DamagedFile: when a file is missing, changed or cannot be read.
        RunMismatch: when ``build`` gives another supernet than the one that the weights come from.
    """
    described = path if path.name.endswith(ARCHITECTURE_SUFFIX) else path.with_suffix(ARCHITECTURE_SUFFIX)
    data = read_architecture(described)
    weights_file = described.with_name(data["weights"]["file"])
    if not weights_file.is_file():
        raise DamagedFile(f"{weights_file} is missing; it holds the weights of {described}")
    if sha256(weights_file) != data["weights"]["sha256"]:
        raise DamagedFile(f"{weights_file} is not the file that {described} was written with; export the network again")
    architecture = Architecture.from_json(data["architecture"])
    supernet = build(data["source"])
    try:
        same = supernet.plan(architecture).fingerprint == Plan.from_json(data["plan"]).fingerprint
    except InvalidArchitecture:
        same = False
    if not same:
        raise RunMismatch(
            f"the source in {described} now builds another supernet than the one that the weights come from; "
            "use the version of the model that was searched"
        )
    module = supernet.extract(architecture)
    _fill(module, weights_file)
    return module.eval()


def read_architecture(path: Path) -> dict[str, Any]:
    """The content of an architecture file.

    Raises:
        DamagedFile: when it is missing, no architecture file, of a newer version, or malformed.
    """
    data: Any = read_json(path, what="the architecture of a network")
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise DamagedFile(f'{path} is no architecture file of archsmith; it should say "format": "{FORMAT}"')
    if data.get("version") != VERSION:
        raise DamagedFile(f"{path} has version {data.get('version')}, this archsmith reads {VERSION}: update archsmith")
    wrong = misfit(data, _Described) or misfit_of_model(data["source"])
    if not wrong and Path(data["weights"]["file"]).name != data["weights"]["file"]:
        wrong = "its weights are said to lie in another folder"
    if wrong:
        raise DamagedFile(f"{path} is no whole architecture file ({wrong}); export the network again")
    found: dict[str, Any] = data
    return found


def _weights(module: nn.Module) -> dict[str, Tensor]:
    state = module.state_dict()
    other = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if other:
        raise InvalidModel(f"safetensors holds tensors only, but the state of {', '.join(other)} is something else")
    # copies: tied weights are stored under each of their names, as load_state_dict wants them
    return {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}


def _fill(module: nn.Module, file: Path) -> None:
    library = require("safetensors.torch", extra="torch", purpose="Loading a safetensors file")
    try:
        weights: dict[str, Tensor] = library.load_file(file)
    except Exception as error:  # safetensors raises a class of its own
        raise DamagedFile(f"{file} cannot be read: {error}; export the network again") from error
    try:
        module.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise RunMismatch(f"the weights in {file} do not fit the network that its source builds: {error}") from error


def _described(x: Any, name: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {} if name is None else {"name": name}
    if not isinstance(x, Tensor):
        plain = x is None or isinstance(x, bool | int | float | str)
        return found | {"value": x if plain else repr(x)}
    found |= {"shape": list(x.shape), "dtype": str(x.dtype).removeprefix("torch.")}
    if not (x.is_floating_point() or x.is_complex()):
        found["values"] = x.detach().cpu().tolist()
    return found


def inputs_from(described: list[dict[str, Any]]) -> tuple[Any, ...]:
    """The recorded inputs; zeros in place of numbers that are not whole.

    Raises:
        DamagedFile: when the record is not one of inputs.
    """
    try:
        return tuple(x["value"] if "value" in x else _tensor(x) for x in described)
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise DamagedFile(f"cannot make inputs like {str(described)[:200]}: {error}") from error


def names_from(described: list[dict[str, Any]]) -> tuple[str, ...]:
    """Names of the recorded inputs; none where the network takes them by position."""
    return tuple(str(x["name"]) for x in described if "name" in x)


def _tensor(described: Mapping[str, Any]) -> Tensor:
    dtype = getattr(torch, described["dtype"])
    if not isinstance(dtype, torch.dtype) or not 0 <= math.prod(described["shape"]) <= MAX_INPUT_VALUES:
        raise ValueError(f"no input has the type {described['dtype']} and the shape {described['shape']}")
    zeros = torch.zeros(described["shape"], dtype=dtype)
    return torch.tensor(described["values"], dtype=dtype).reshape(zeros.shape) if "values" in described else zeros
