"""The contract of a file format."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from archsmith.architecture import Architecture
from archsmith.errors import InvalidOption
from archsmith.method import Method
from archsmith.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a network comes from: all that is needed to build it again.

    Args:
        source: of the supernet, plain data: ``{"network": "residual_convnet", "options": {...}}`` or
            ``{"factory": "module:function", "options": {...}}``.
        architecture: the extracted one.
        plan: the supernet's plan of it.
    """

    source: Mapping[str, Any]
    architecture: Architecture
    plan: Plan


@dataclass(frozen=True, kw_only=True)
class WrittenFile:
    """What one export left on disk.

    Args:
        paths: of the files, the main one first.
        details: plain data for the certificate.
    """

    paths: tuple[Path, ...]
    details: Mapping[str, Any] = field(default_factory=dict)


class FileFormat(Method):
    """Writes a plain module as files. Built from keyword options only."""

    suffix: ClassVar[str]

    @abstractmethod
    def write(
        self,
        module: nn.Module,
        example_inputs: tuple[Any, ...],
        path: Path,
        *,
        names: Sequence[str] = (),
        origin: Origin | None = None,
    ) -> WrittenFile:
        """Write ``module``, in evaluation mode, at ``path`` and beside it; each file is written whole or not at all.

        Args:
            module: not changed.
            example_inputs: tensors of one call.
            path: ends in :attr:`suffix`.
            names: of the inputs, where the module takes them by name.
            origin: for formats that cannot hold the network's structure themselves.

        Raises:
            InvalidOption: when ``path`` has another suffix, or a needed origin is missing.
            InvalidModel: when the format cannot hold the network.
            StorageFull: when the disk is full.
        """


def check_suffix(path: Path, suffix: str) -> None:
    """Refuse a path whose suffix is not that of the format.

    Raises:
        InvalidOption: naming the suffix.
    """
    if path.suffix != suffix:
        raise InvalidOption(f"{path} must end in {suffix}: write {path.with_suffix(suffix)}")
