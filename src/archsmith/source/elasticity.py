"""Makes a network elastic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import nn

from archsmith.discovery.elasticity import Elasticity, Sizes
from archsmith.errors import InvalidOption
from archsmith.progress import Listener, Reporter, nobody
from archsmith.structure.choices import ChoiceModule
from archsmith.supernet import Elastic, Supernet


def elastic(  # noqa: PLR0913 - users' options, each by name
    model: nn.Module,
    example_inputs: Any,
    axes: Mapping[str, Elastic] | None = None,
    *,
    width: Sizes = (0.5, 0.75, 1.0),
    depth: float = 0.5,
    branches: bool = False,
    kernel: int | None = 3,
    multiple: int = 8,
    only: Sequence[str] = (),
    freeze: Sequence[str] = (),
    tie: Sequence[str] = (),
    options: Mapping[str, Sizes] | None = None,
    homogeneous: bool = False,
    importance: Literal["l1"] | None = "l1",
    resolution: Sizes = (),
    via: Literal["auto", "modules", "graph"] = "auto",
    seed: int = 0,
    copy: bool = True,
    on_progress: Listener = nobody,
) -> Supernet:
    """A supernet of ``model``.

    The model is run once on the example inputs, and everything in it that can vary becomes a choice: widths, heads and
    head sizes, hidden sizes, depth, kernels. Each choice is checked on subnets before it is offered; print
    ``account()`` to see what became elastic and why the rest did not. For a model with choice modules, or with
    ``axes`` given, nothing is traced: only what is declared becomes a choice.

    Patterns are those of the shell (``"blocks.*.mlp.*"``) and match the names of choices, which begin with the path of
    a module. A plain name (``"blocks.0"``) matches all names below it.

    Args:
        model: any module; it is copied and not changed.
        example_inputs: of one call: a tensor, a tuple of the positional inputs, or a mapping by name.
        axes: module name -> which of its dimensions follow which choice; then nothing is traced.
        width: shares of every width that are offered, up to 1.0.
        depth: smallest share of a container's blocks that is kept; ``1.0`` keeps all.
        branches: whether residual branches (``x + f(x)``) can be left out one by one, beside whole blocks.
        kernel: smallest size that is offered for odd kernels of 5 and more; ``None`` keeps all.
        multiple: widths are rounded to multiples of it; counts of heads and groups are not.
        only: patterns of the choices that may vary.
        freeze: patterns of choices, modules and tensors that must not vary.
        tie: patterns; the choices that match one become one choice.
        options: pattern of choices -> sizes (integers), or shares of the full size (floats).
        homogeneous: only subnets that the class of a transformers model builds from a smaller configuration, all layers
            alike; ``supernet.stock(arch)`` returns them in that class.
        importance: ``"l1"`` sorts units by the L1 norm of their weights, so that smaller widths keep the largest;
            ``None`` does not sort; ``supernet.sort_units(by="taylor", ...)`` is better where you have data.
        resolution: heights of images that are offered as a choice (``[160, 192, 224]``), or shares of the example's
            (``(0.75, 1.0)``): a subnet gets its images in that size.
        via: what to do with modules whose code contains sizes as plain numbers, as in ``x.view(b, 8, 64)``: ``"auto"``
            replaces them by ``torch.fx.GraphModule`` where that makes more weights elastic, ``"graph"`` also where it
            makes as many, ``"modules"`` leaves them unchanged.
        seed: of ``supernet.sampled()`` without a generator.
        copy: ``False`` slices ``model`` itself during each call instead of a copy; for large models.
        on_progress: called with progress.

    Raises:
        InvalidModel: naming the module and dimension that does not fit, or when nothing is elastic.
        InvalidOption: for values outside these rules.
        UnknownName: for patterns that match nothing.
    """
    reporter = Reporter(on_progress, stage="elastic")
    declared: Mapping[str, Elastic] | Elasticity = dict(axes or {})
    chosen = isinstance(model, nn.Module) and any(isinstance(m, ChoiceModule) for m in model.modules())
    if not axes and not chosen:
        declared = Elasticity(
            width,
            depth,
            branches,
            kernel,
            multiple,
            only,
            freeze,
            tie,
            dict(options or {}),
            homogeneous,
            importance,
            resolution,
            via,
        )
    elif resolution not in ((), []):
        raise InvalidOption(
            "resolution= needs a model that is traced; leave out resolution=, or axes= and choice modules"
        )
    supernet = Supernet(
        model,
        declared,
        example_inputs=example_inputs,
        seed=seed,
        copy=copy,
        reporter=reporter,
    )
    reporter.progress(str(supernet.space.size()), 1, 1)
    return supernet
