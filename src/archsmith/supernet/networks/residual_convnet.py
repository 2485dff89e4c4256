"""A small residual convolutional network whose widths, depths and kernels are choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from archsmith.errors import InvalidOption
from archsmith.method import Paper
from archsmith.structure.axes import Elastic, Kernel, Width
from archsmith.structure.choices import Depth
from archsmith.supernet.networks.base import Network
from archsmith.supernet.supernet import Supernet

WIDTHS = ((8, 12, 16), (12, 18, 24), (20, 30, 40))


class Block(nn.Module):
    """Two convolutions with a shortcut around them: ``y = relu(f(x) + shortcut(x))``."""

    def __init__(self, into: int, inner: int, out: int, *, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(into, inner, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or into != out:
            self.shortcut = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


@final
class ResidualConvNet(Network):
    """Residual ConvNet: width and depth per stage, kernel per block.

    Departs from the paper: basic blocks only, sizes for small images by default, and a stem and strides that follow
    the image size. Widths, inner widths, depths and kernels are choices in the manner of once-for-all networks.
    """

    paper = Paper(
        authors="He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian",
        title="Deep Residual Learning for Image Recognition",
        year=2016,
        venue="CVPR",
        arxiv="1512.03385",
    )

    @classmethod
    def build(
        cls,
        *,
        channels: int,
        classes: int,
        image_size: int | Sequence[int],
        widths: Sequence[Sequence[int]] = WIDTHS,
        depths: Sequence[int] = (1, 2, 3),
        kernels: Sequence[int] = (3, 5),
        kernel_policy: str = "centre_crop",
    ) -> Supernet:
        """A supernet for images of one size.

        Args:
            channels: of the images.
            classes: how many outputs.
            image_size: side of square images in pixels, or height and width; 4 or more.
            widths: options of the channels of each stage, which are also those of its blocks' inner channels.
            depths: options of the number of blocks of each stage.
            kernels: options of the size of each block's first kernel, odd.
            kernel_policy: ``"centre_crop"`` or ``"kernel_transform"``.

        Raises:
            InvalidOption: for sizes below 1, no stage, even kernels or images smaller than 4 pixels.
        """
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        _check(channels, classes, min(height, width), widths, depths, kernels)
        stages = [_Stage(f"stage{i}", w, tuple(depths)) for i, w in enumerate(widths, start=1)]
        stem_stride, pool, strides = _strides(min(height, width), len(stages))
        parts: dict[str, nn.Module] = {"stem": _stem(channels, stages[0].out.full, stem_stride, pool)}
        elastic = {"stem.0": Elastic(out=stages[0].out), "stem.1": Elastic(over=stages[0].out)}
        before = stages[0].out
        for stage, stride in zip(stages, strides, strict=True):
            parts[stage.name] = stage.build(before, stride, max(kernels))
            elastic |= stage.elastic(before, stride, tuple(kernels), kernel_policy)
            before = stage.out
        parts |= {
            "pool": nn.AdaptiveAvgPool2d(1),
            "flatten": nn.Flatten(),
            "classifier": nn.Linear(before.full, classes),
        }
        elastic["classifier"] = Elastic(into=before)
        model = nn.Sequential()
        for name, part in parts.items():
            model.add_module(name, part)
        return Supernet(model, elastic, example_inputs=(torch.zeros(2, channels, height, width),), copy=False)


class _Stage:
    """The choices of one stage."""

    def __init__(self, name: str, widths: Sequence[int], depths: tuple[int, ...]) -> None:
        self.name, self.depths = name, depths
        self.out = Width(f"{name}.width", tuple(widths))
        self.inner = Width(f"{name}.inner", tuple(widths))

    def build(self, before: Width, stride: int, kernel: int) -> Depth:
        blocks = []
        for i in range(self.depths[-1]):
            into, step = (before, stride) if i == 0 else (self.out, 1)
            blocks.append(Block(into.full, self.inner.full, self.out.full, kernel=kernel, stride=step))
            if i == 0 and before is not self.out and isinstance(blocks[0].shortcut, nn.Identity):
                # two stages may have equal largest widths; they still vary separately
                blocks[0].shortcut = nn.Sequential(
                    nn.Conv2d(into.full, self.out.full, 1, bias=False), nn.BatchNorm2d(self.out.full)
                )
        return Depth(f"{self.name}.depth", blocks, self.depths)

    def elastic(self, before: Width, stride: int, kernels: tuple[int, ...], policy: str) -> dict[str, Elastic]:
        found = {}
        for i in range(self.depths[-1]):
            where, into = f"{self.name}.{i}", before if i == 0 else self.out
            kernel = Kernel(f"{self.name}.block{i + 1}.kernel", kernels, policy)
            found[f"{where}.conv1"] = Elastic(out=self.inner, into=into, kernel=kernel)
            found[f"{where}.bn1"] = Elastic(over=self.inner)
            found[f"{where}.conv2"] = Elastic(out=self.out, into=self.inner)
            found[f"{where}.bn2"] = Elastic(over=self.out)
            if i == 0 and (before is not self.out or stride > 1):
                found[f"{where}.shortcut.0"] = Elastic(out=self.out, into=before)
                found[f"{where}.shortcut.1"] = Elastic(over=self.out)
        return found


def _stem(channels: int, out: int, stride: int, pool: bool) -> nn.Sequential:  # noqa: FBT001
    layers = [nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
    return nn.Sequential(*layers, *([nn.MaxPool2d(3, 2, 1)] if pool else []))


def _strides(side: int, stages: int) -> tuple[int, bool, list[int]]:
    """Stride of the stem, whether it pools, strides of the stages: no map falls below 2 x 2 pixels."""
    stem, pool = (2 if side >= 64 else 1), side >= 128
    size = side // stem // (2 if pool else 1)
    strides = [1]
    for _ in range(stages - 1):
        strides.append(2 if size >= 4 else 1)
        size //= strides[-1]
    return stem, pool, strides


def _check(
    channels: int,
    classes: int,
    side: int,
    widths: Sequence[Sequence[int]],
    depths: Sequence[int],
    kernels: Sequence[int],
) -> None:
    for name, value, least in (("channels", channels, 1), ("classes", classes, 1), ("image_size", side, 4)):
        if value < least:
            raise InvalidOption(f"{name} is {least} or more, got {value}")
    if not widths:
        raise InvalidOption("widths needs the options of at least one stage, such as ((8, 16), (16, 32))")
    if not depths or list(depths) != sorted(set(depths)) or depths[0] < 1:
        raise InvalidOption(f"depths ascend from 1 or more, got {tuple(depths)}")
    if not kernels or any(k % 2 == 0 or k < 1 for k in kernels):
        raise InvalidOption(f"kernels are odd, got {tuple(kernels)}")
