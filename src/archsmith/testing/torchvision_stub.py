"""torchvision beside a torch that its compiled part does not fit, such as a CPU-only torch.

The wheels of torchvision on PyPI are compiled for CUDA. Beside a CPU-only torch their library does not load, so that
two operators are never defined which ``import torchvision`` (and with it timm, and the image models of transformers)
describes further. Tests, examples and benchmarks call :func:`define_torchvision_operators` before those imports; the
library itself never does.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_kept: list[torch.library.Library] = []  # definitions live as long as the library that made them


def define_torchvision_operators() -> tuple[str, ...]:
    """Define the operators that ``import torchvision`` expects, where torchvision's own library cannot.

    They have no kernel: what runs them (non-maximum suppression in detection models) fails with torch's message.
    Where torchvision's library loads, where it is not installed, and on a second call nothing is done.

    Returns:
        Names of the operators that this call defined.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or _loads(Path(spec.submodule_search_locations[0]) if spec.submodule_search_locations else Path()):
        return ()
    missing = tuple(n for n in _SCHEMAS if not torch._C._jit_get_schemas_for_operator(f"torchvision::{n}"))
    if missing:
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for name in missing:
            library.define(_SCHEMAS[name])  # type: ignore[no-untyped-call]
        _kept.append(library)
    return missing


def _loads(folder: Path) -> bool:
    """Whether torchvision's compiled operators are there and fit this torch."""
    for file in [*folder.glob("_C*.so"), *folder.glob("_C*.pyd"), *folder.glob("_C*.dylib")]:
        try:
            torch.ops.load_library(str(file))  # type: ignore[no-untyped-call]
        except OSError:
            continue
        return True
    return False
