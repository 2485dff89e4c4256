"""Weight policies: how the values of a smaller kernel come from the largest one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from archsmith.errors import unknown
from archsmith.structure.axes import Kernel


class KernelPolicy(ABC):
    """Makes kernels smaller. The tensors that it learns belong to the supernet; extraction applies them for good.

    Attributes:
        views: whether :meth:`apply` gives a view, which shares later changes of the weight.
    """

    views: ClassVar[bool] = False

    @abstractmethod
    def initial(self, kernel: Kernel, dimensions: int) -> dict[str, Tensor]:
        """The tensors that it learns for one module, by short name.

        Args:
            kernel: the choice.
            dimensions: how many spatial dimensions the kernel has.
        """

    @abstractmethod
    def options(self, kernel: Kernel, size: int, prefix: str) -> dict[str, Any]:
        """Plain data for a plan; names of tensors begin with ``prefix``."""

    @abstractmethod
    def apply(self, weight: Tensor, options: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Tensor:
        """The kernel of the size that ``options`` say; ``weight`` is ``(out, in, K, ...)``, channels already kept."""


class CentreCrop(KernelPolicy):
    """The middle of the largest kernel."""

    views = True

    def initial(self, kernel: Kernel, dimensions: int) -> dict[str, Tensor]:  # noqa: ARG002 - learns nothing
        return {}

    def options(self, kernel: Kernel, size: int, prefix: str) -> dict[str, Any]:  # noqa: ARG002
        return {"size": size}

    def apply(self, weight: Tensor, options: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Tensor:  # noqa: ARG002
        return _centre(weight, options["size"])


class KernelTransform(KernelPolicy):
    """The middle of the next larger kernel times a learned matrix, step by step (Cai et al. 2020).

    One matrix a module and step, shared by all channels, as in the paper; it starts as the identity, so that an
    untrained transform is a centre crop.
    """

    def initial(self, kernel: Kernel, dimensions: int) -> dict[str, Tensor]:
        return {f"{large}to{small}": torch.eye(small**dimensions) for small, large in pairwise(kernel.options)}

    def options(self, kernel: Kernel, size: int, prefix: str) -> dict[str, Any]:
        steps = [(small, large) for small, large in pairwise(kernel.options) if small >= size]
        return {"size": size, "steps": [[small, f"{prefix}{large}to{small}"] for small, large in reversed(steps)]}

    def apply(self, weight: Tensor, options: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Tensor:
        for size, name in options["steps"]:
            middle = _centre(weight, size)
            weight = F.linear(middle.flatten(2), tensors[name].to(middle.dtype)).view(middle.shape)
        return weight


_POLICIES: dict[str, KernelPolicy] = {"centre_crop": CentreCrop(), "kernel_transform": KernelTransform()}


def policy_named(name: str) -> KernelPolicy:
    """The policy of that name.

    Raises:
        UnknownName: listing the known names.
    """
    if name not in _POLICIES:
        raise unknown("weight policy", name, _POLICIES)
    return _POLICIES[name]


def _centre(weight: Tensor, size: int) -> Tensor:
    cut = [slice((full - size) // 2, (full - size) // 2 + size) for full in weight.shape[2:]]
    return weight[(slice(None), slice(None), *cut)]
