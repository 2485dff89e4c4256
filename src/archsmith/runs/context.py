"""Supernet, data and devices of a run: given by the user, or rebuilt from ``run.json``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from archsmith.architecture import Architecture
from archsmith.candidates.precisions import JointSpace, joint_space
from archsmith.candidates.quantised_files import policy_of
from archsmith.data import open_data
from archsmith.errors import (
    InvalidModel,
    RunMismatch,
)
from archsmith.export.onnx_tools.quantising import Policy
from archsmith.hardware import open_device
from archsmith.progress import SILENT, Reporter
from archsmith.runs.folder import RunFolder
from archsmith.runs.weights import load_weights
from archsmith.source.building import rebuild
from archsmith.space import ChoiceSpace
from archsmith.supernet import Supernet
from archsmith.trust import Names, foreign, names_of

EVALUATION_BATCH = 256
"""Inputs of one forward pass when accuracy is measured; larger batches are no faster with a processor's caches."""
UNIFORM_NETWORKS = 8
"""Random networks, quantised alike in all layers, that a search over precisions begins with."""


@dataclass(frozen=True)
class SearchContext:
    """Everything that searching and exporting need beside the store.

    Args:
        supernet: trained, with its calibration batches recorded.
        source: how to rebuild the supernet's model, as plain data; ``None`` for a model given as an object.
        val: batches that the search measures accuracy on; ``None`` where they are not available.
        test: batches for the final networks only; ``None`` where there are none.
        on: devices to measure on, name -> spec.
        data: how to read the data again, as plain data; ``None`` or without ``spec`` for loaders given as objects.
        anchors: device -> the reference's milliseconds that this run's latencies are based on, once known.
        joint: the precisions of layers, where they are searched or fixed.
        names: which file names ``source``, ``on`` and ``data``; ``None`` if the user does.
    """

    supernet: Supernet
    source: Mapping[str, Any] | None
    val: Iterable[Any] | None
    test: Iterable[Any] | None
    on: Mapping[str, str]
    data: Mapping[str, Any] | None = None
    anchors: Mapping[str, float] = field(default_factory=dict)
    joint: JointSpace | None = None
    names: Names | None = None

    @property
    def space(self) -> ChoiceSpace:
        """The search space: that of the supernet, with the choices of precisions where there are any."""
        return self.supernet.space if self.joint is None else self.joint.space

    @property
    def largest(self) -> Architecture:
        """The largest network, with every layer in the widest precision that it may have."""
        return self.supernet.largest if self.joint is None else self.joint.join(self.supernet.largest)

    @property
    def weight_bits(self) -> int:
        """Bits of int8 layers: the fewest of all devices, so that all of them run the network that is evaluated."""
        return min(open_device(spec).weight_bits for spec in self.on.values())

    def first(self, seed: int) -> list[Architecture]:
        """Architectures that every search begins with: the largest and the smallest, in every precision there is.

        Where precisions are searched, also some random networks with all layers in the narrowest precision: a
        quantised layer is fastest beside other quantised layers, which random mixtures of precisions do not show.
        """
        supernet = self.supernet
        if self.joint is None:
            return [supernet.largest, supernet.smallest]
        wanted = self.joint.wanted.options
        found = [self.joint.join(arch, p) for arch in (supernet.largest, supernet.smallest) for p in wanted]
        if self.joint.choices:
            drawn = supernet.space.sample(UNIFORM_NETWORKS, np.random.default_rng([seed, UNIFORM_NETWORKS]))
            found += [self.joint.join(arch, wanted[-1]) for arch in drawn]
        return list(dict.fromkeys(found))

    def split(self, arch: Architecture) -> tuple[Architecture, Policy]:
        """The supernet's architecture, and the precision of every layer."""
        return policy_of(self.joint, arch)


def context_of(run: RunFolder, *, data: str | None = None, reporter: Reporter = SILENT) -> SearchContext:
    """The context of a run, rebuilt from its folder.

    Args:
        run: finished or not, but trained.
        data: where the data are now, if they have moved; their fingerprint is checked.
        reporter: gets progress.

    Raises:
        InvalidModel: when the run's model was given as a Python object.
        RunMismatch: when the data have changed.
        Untrusted: when the run is somebody else's and names code, files or agents.
    """
    with names_of(run.names):
        return _context_of(run, data, reporter)


def _context_of(run: RunFolder, data: str | None, reporter: Reporter) -> SearchContext:
    source = run.fixed["model"]
    if source is None:
        raise InvalidModel(
            f"{run.path} was searched from a live Python model, so its networks cannot be rebuilt here; "
            'give smith.search(..., model="module:factory") a function that builds it'
        )
    if foreign():
        for spec in run.devices.values():
            open_device(spec)  # before anything is built: refuses agents and code
    supernet = rebuild(source, reporter=reporter)
    load_weights(run, supernet)
    val = test = None
    described = run.fixed["data"]
    if described and described.get("spec"):
        found = open_data(
            data or described["spec"],
            resize=described["resize"],
            seed=described["seed"],
            limit=described["images"],
            options=described.get("options"),
        )
        if found.fingerprint != described["fingerprint"]:
            raise RunMismatch(
                f"the data at {data or described['spec']} are not those of the run (fingerprint {found.fingerprint}, "
                f"the run has {described['fingerprint']}); restore them, or say where they are with --data"
            )
        val, test = (found.batches(split, EVALUATION_BATCH) for split in ("val", "test"))
    joint = joint_space(supernet, None, kept=run.fixed.get("precisions"))
    return SearchContext(supernet, source, val, test, run.devices, described, run.anchors, joint, run.names)
