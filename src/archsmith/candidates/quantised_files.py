"""Files of subnets in the precisions of their architectures, for one device."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from archsmith.architecture import Architecture
from archsmith.candidates.files import Candidates
from archsmith.candidates.fingerprints import fingerprint_of_supernet
from archsmith.candidates.precisions import JointSpace
from archsmith.errors import EvaluationFailed, InvalidModel, InvalidOption
from archsmith.export.onnx_tools.inputs import batch_size, resized, some_of
from archsmith.export.onnx_tools.onnx_file import OnnxFile
from archsmith.export.onnx_tools.quantising import Policy, Quantisable
from archsmith.fingerprint import fingerprint_of
from archsmith.hardware import Call
from archsmith.running.calibration import CalibrationBatch
from archsmith.structure.calls import in_order
from archsmith.structure.resolution import fitted
from archsmith.supernet.supernet import Supernet

NETWORKS_KEPT = 2
"""How many networks' files are cached: one evaluation needs the same file several times."""


class QuantisedFiles:
    """Quantises candidates of a supernet for one device.

    Args:
        joint: architectures and precisions.
        candidates: prepares the same networks in fp32.
        weight_bits: of int8 layers, see :meth:`Quantisable.quantised`.

    Raises:
        InvalidOption: when no calibration data were recorded: the ranges of activations are unknown.
    """

    def __init__(self, joint: JointSpace, candidates: Candidates, *, weight_bits: int) -> None:
        self.joint, self.candidates, self.weight_bits = joint, candidates, weight_bits
        self.supernet = candidates.supernet
        if not self.supernet.calibration:
            raise InvalidOption("quantising needs calibration data; pass calibration=train_loader")
        self._names = [name for name, _ in self.supernet.model.named_modules()]
        self._ready: OrderedDict[str, tuple[Quantisable, Mapping[str, Any]]] = OrderedDict()
        self._made: OrderedDict[str, bytes] = OrderedDict()

    @property
    def fingerprint(self) -> str:
        """Equal means equal files of equal architectures."""
        wanted = repr((self.joint.wanted.to_json(), dict(self.joint.fixed)))
        return fingerprint_of("quantised", wanted, self.weight_bits, fingerprint_of_supernet(self.supernet))

    def check(self, batches: Iterable[Any]) -> None:
        """Refuse data in other shapes than the example inputs: files are made for these.

        Raises:
            InvalidOption: naming both shapes.
        """
        names = self.supernet.input_names
        for given in itertools.chain((pair[0] for pair in batches), map(_inputs, self.supernet.calibration)):
            for x, example in zip(in_order(given, names), self.supernet.example_inputs, strict=True):
                if isinstance(x, torch.Tensor) and x.shape[1:] != example.shape[1:]:
                    raise InvalidOption(
                        f"quantised networks are judged as files, which take inputs of shape {_shape(example)} as in "
                        f"the example inputs; the data have {_shape(x)}: pad texts to one length, resize images"
                    )

    def content(self, arch: Architecture) -> bytes:
        """The file of ``arch``.

        Raises:
            EvaluationFailed: when it cannot be quantised.
        """
        own, policy = self.joint.split(arch)
        if policy.full:
            return self.candidates.content(own)
        if arch.key not in self._made:
            try:
                network, ranges = self._calibrated(own)
                self._made[arch.key] = network.quantised(policy, ranges, weight_bits=self.weight_bits)
            except InvalidModel as error:
                raise EvaluationFailed(str(error)) from error
            _forget(self._made)
        return self._made[arch.key]

    def call(self, arch: Architecture) -> Call:
        """One forward pass of ``arch``, ready to be timed.

        Raises:
            MeasurementFailed: when the runtime refuses the network.
        """
        own, policy = self.joint.split(arch)
        if policy.full:
            return self.candidates.call(own)
        return self.candidates.device.prepare_onnx(self.content(arch), self.supernet.inputs_of(own))

    def inputs_of(self, arch: Architecture) -> tuple[Any, ...]:
        """Example inputs of one call of ``arch``, by position."""
        return self.supernet.inputs_of(self.joint.split(arch)[0])

    def network(self, arch: Architecture) -> QuantisedModule:
        """The file of ``arch`` as a module that runs it in ONNX Runtime, on images of any size."""
        own, _ = self.joint.split(arch)
        sizes, names = self.supernet.plan(own).inputs, self.supernet.input_names
        return QuantisedModule(OnnxFile(self.content(arch)), sizes, names)

    def _calibrated(self, own: Architecture) -> tuple[Quantisable, Mapping[str, Any]]:
        if own.key not in self._ready:
            network = Quantisable(self.candidates.content(own), self._names)
            batch = self.candidates.device.batch
            calls = calibration_calls(self.supernet, own, batch, self.joint.wanted.items)
            self._ready[own.key] = network, network.ranges(calls, self.joint.wanted.ranges)
            _forget(self._ready)
        return self._ready[own.key]


def calibration_calls(supernet: Supernet, own: Architecture, batch: int, items: int) -> Iterator[tuple[Any, ...]]:
    """Inputs of one call each of the recorded calibration data, as the file of ``own`` takes them.

    Args:
        supernet: with calibration batches.
        own: an architecture of it.
        batch: items of one call.
        items: of all calls together; more if needed to fill the last call.
    """
    sizes, names = supernet.plan(own).inputs, supernet.input_names
    given = 0
    for recorded in supernet.calibration:
        inputs = in_order(fitted(sizes, _inputs(recorded), names), names)
        for start in range(0, batch_size(inputs), batch):
            if given >= items:
                return
            yield resized(some_of(inputs, start, batch), batch)
            given += batch


def _inputs(recorded: CalibrationBatch) -> Any:
    return dict(recorded.keywords) or recorded.inputs


def _shape(x: torch.Tensor) -> str:
    return f"(batch, {', '.join(map(str, x.shape[1:]))})"


class QuantisedModule(nn.Module):
    """A file as a module without parameters, on which metrics are evaluated."""

    def __init__(self, file: OnnxFile, sizes: Mapping[str, Any], names: tuple[str, ...]) -> None:
        super().__init__()
        self._file, self._sizes, self._names = file, sizes, names

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The file's outputs: a tensor, or several as a tuple."""
        return self._file(*in_order(fitted(self._sizes, named or inputs, self._names), self._names))


def policy_of(joint: JointSpace | None, arch: Architecture) -> tuple[Architecture, Policy]:
    """The supernet's architecture and its precisions; all fp32 where no precisions are searched."""
    return (arch, Policy()) if joint is None else joint.split(arch)


def _forget(kept: OrderedDict[str, Any]) -> None:
    while len(kept) > NETWORKS_KEPT:
        kept.popitem(last=False)
