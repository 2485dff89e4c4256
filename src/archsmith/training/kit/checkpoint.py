"""A training's state after an epoch as one safetensors file: tensors, and everything else as JSON in its header.

Never a pickle. A file is written beside the old one, flushed to disk and renamed over it: after a kill at any moment
the last finished epoch is still there. A digest detects changed bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor

from archsmith.errors import DamagedFile, RunMismatch, UserError, require
from archsmith.files import misfit, parsed_json, replacing

FORMAT = 1
NAME = "checkpoint.safetensors"


class _State(TypedDict):
    """The state from which a training resumes; it may have more entries."""

    history: list[dict[str, Any]]
    scaler: dict[str, Any]


class _Header(TypedDict):
    """Everything but the tensors, as JSON."""

    recipe: dict[str, Any]
    state: dict[str, Any]
    digest: str


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after an epoch.

    Args:
        tensors: ``KIND/NAME`` -> tensor, kinds being ``"weights"`` and ``"optimizer"``.
        recipe: every option that the result depends on.
        state: epochs done, their history, state of random generator and loss scaler; plain data.
    """

    tensors: Mapping[str, Tensor]
    recipe: Mapping[str, Any]
    state: Mapping[str, Any]

    def of_kind(self, kind: str) -> Iterator[tuple[str, Tensor]]:
        """Names without the kind, and tensors."""
        return ((name.partition("/")[2], t) for name, t in self.tensors.items() if name.startswith(f"{kind}/"))

    def save(self, folder: Path) -> None:
        """Write it into ``folder``, whole or not at all.

        Raises:
            StorageFull: when the disk is full; the last checkpoint is still there.
        """
        safetensors = require("safetensors.torch", extra="torch", purpose="Saving a checkpoint")
        tensors = {name: t.detach().cpu().contiguous().clone() for name, t in self.tensors.items()}
        header = {"recipe": self.recipe, "state": self.state, "digest": _digest(tensors)}
        metadata = {"archsmith": str(FORMAT), "training": json.dumps(header)}
        with replacing(folder / NAME) as temporary:
            temporary.write_bytes(safetensors.save(tensors, metadata))

    @classmethod
    def load(cls, folder: Path) -> Checkpoint | None:
        """The checkpoint in ``folder``; ``None`` where no epoch was finished.

        Raises:
            DamagedFile: when it cannot be read, or was written by a newer version.
        """
        path = folder / NAME
        if not path.is_file():
            if folder.exists() and not folder.is_dir():
                raise UserError(f"checkpoint={str(folder)!r} is a file; give a folder, new or of an earlier training")
            return None
        safetensors = require("safetensors", extra="torch", purpose="Loading a checkpoint")
        way_out = f"restore it, or delete {path} to train from the start"
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            version = int(metadata["archsmith"])
            header = parsed_json(metadata["training"]) if version == FORMAT else {}
            if version == FORMAT and (wrong := misfit(header, _Header)):
                raise ValueError(wrong)
        except (safetensors.SafetensorError, OSError, KeyError, ValueError, TypeError, MemoryError) as error:
            raise DamagedFile(f"the checkpoint {path} cannot be read ({error}); {way_out}") from error
        if version != FORMAT:
            raise DamagedFile(f"the checkpoint {path} has format {version}, this version reads {FORMAT}; upgrade")
        if header.get("digest") != _digest(tensors):
            raise DamagedFile(f"the checkpoint {path} is damaged: its content has changed since; {way_out}")
        return cls(tensors, header["recipe"], header["state"])

    def check_recipe(self, recipe: Mapping[str, Any], folder: Path) -> None:
        """Refuse to resume with other options than those at the start.

        Raises:
            RunMismatch: naming every one that differs.
        """
        now = json.loads(json.dumps(recipe))
        differing = [k for k in sorted({*self.recipe, *now}) if self.recipe.get(k) != now.get(k)]
        if differing:
            listed = "; ".join(f"{k} was {self.recipe.get(k)!r}, now {now.get(k)!r}" for k in differing)
            raise RunMismatch(
                f"the training in {folder} was begun with other settings: {listed}. Give those that it was begun with, "
                "or another folder"
            )


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
