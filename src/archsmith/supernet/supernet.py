"""One network that is many: subnets of all architectures share its weights."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from archsmith.architecture import Architecture
from archsmith.discovery.account import Account, account_of, explained
from archsmith.discovery.automatic import found
from archsmith.discovery.elasticity import Elasticity, Via
from archsmith.discovery.literals import lifted_again
from archsmith.discovery.stock import Stock
from archsmith.errors import InvalidData, InvalidModel, InvalidOption, whole
from archsmith.plan import Plan
from archsmith.progress import SILENT, Reporter
from archsmith.running.calibration import CalibrationBatch, batch_of, statistics, weights_version
from archsmith.running.extraction import Pieces, extracted, pieces
from archsmith.running.relaxed import Relaxed
from archsmith.running.shadow import PlanProgram, Program, Shadow, refuse_copy
from archsmith.space import ChoiceSpace, Constraint, Interchangeable
from archsmith.structure.axes import Elastic
from archsmith.structure.calls import arguments, call, check_call
from archsmith.structure.resolution import Resizing, fitted
from archsmith.structure.structure import declare, structure_of
from archsmith.supernet._refusals import check_runs, copied, refuse_tracing, refuse_wrapped
from archsmith.supernet.importance import Importance, sort_units

PLANS_KEPT = 256

T = TypeVar("T")


class Supernet(nn.Module):
    """A model, what is elastic in it, and the resulting subnets.

    It is a module whose parameters are those of the full model and of its weight policies, inside
    :meth:`active` too: train it with any optimiser. Calls from several threads are correct, one at a time.

    Args:
        model: with choice modules in it, or modules named in ``elastic``. Its outputs are those of the largest
            architecture.
        elastic: module name -> what its dimensions are; or an ``Elasticity``, for which the model is traced with the
            example inputs and everything found in it is proved.
        example_inputs: of one call: a tensor, a tuple of the positional inputs, or a mapping by name; where given, the
            smallest architecture is run once to prove the declaration.
        constraints: rules of the search space, such as ``"stage1.width <= stage2.width"``.
        symmetries: groups of choices that may be swapped.
        seed: of :meth:`sampled` without a generator.
        copy: work on a deep copy. With ``False`` the model itself is trained: its weights and batch-norm statistics
            change with the supernet's, and while a call runs its modules hold slices; units may be put in another
            order (:meth:`sort_units`); nothing else of it changes.
        reporter: gets progress while a model is traced and proved.

    Attributes:
        example_inputs: as a tuple, by position.
        input_names: what the model calls them, in the same order; none where it takes them by position.

    Raises:
        UnknownName: for a module that the model does not have.
        InvalidModel: for sizes that do not fit the model, and for models that cannot be shadowed.
    """

    def __init__(
        self,
        model: nn.Module,
        elastic: Mapping[str, Elastic] | Elasticity | None = None,
        *,
        example_inputs: Any = (),
        constraints: Sequence[Constraint | str] = (),
        symmetries: Sequence[Interchangeable] = (),
        seed: int = 0,
        copy: bool = True,
        reporter: Reporter = SILENT,
    ) -> None:
        super().__init__()
        self._lifted: tuple[str, ...] = ()
        refuse_wrapped(model)
        whole("seed", seed)
        positional, named = arguments(example_inputs)
        if not isinstance(elastic, Elasticity):
            declare(dict(model.named_modules(remove_duplicate=False)), elastic or {})  # refuses before it copies
        self.model = copied(model) if copy else model
        if positional or named:
            check_call(self.model, example_inputs)
        if isinstance(elastic, Elasticity):
            wanted = elastic if copy else replace(elastic, via=_own_modules(elastic))
            result = found(self.model, (positional, named), wanted, constraints, symmetries, reporter=reporter)
            self.model, self.structure, self._lifted = result.model, result.structure, result.lifted
        else:
            self.structure = structure_of(self.model, elastic or {}, constraints, symmetries)
        self.policies = nn.ParameterDict(self.structure.policy_tensors(self.model))
        self.example_inputs, self.input_names = positional or tuple(named.values()), tuple(named)
        self._sampler = np.random.default_rng(seed)
        self._calibration: tuple[CalibrationBatch, ...] = ()
        self._set_up()
        self.training = self.model.training
        if isinstance(elastic, Elasticity):
            if elastic.importance is not None:
                self.sort_units(by=elastic.importance)
        elif self.example_inputs:
            self._prove()

    def _set_up(self) -> None:
        self._shadow = Shadow(self.model)
        self._local = threading.local()
        self._programs: OrderedDict[str, tuple[Architecture, PlanProgram]] = OrderedDict()
        self._calibrated: OrderedDict[str, tuple[Any, PlanProgram]] = OrderedDict()

    # The space ---------------------------------------------------------------------------------------------------

    @property
    def space(self) -> ChoiceSpace:
        """All architectures."""
        return self.structure.space

    @cached_property
    def largest(self) -> Architecture:
        """The architecture of the model as it is."""
        return self.space.largest()

    @cached_property
    def smallest(self) -> Architecture:
        """The architecture with the first option of every choice."""
        return self.space.smallest()

    def random(self, rng: np.random.Generator) -> Architecture:
        """One random architecture, uniform per choice."""
        return self.space.sample(1, rng)[0]

    @property
    def example_call(self) -> Any:
        """The example inputs as the model takes them: a tuple, or a dict by name."""
        if not self.input_names:
            return self.example_inputs
        return dict(zip(self.input_names, self.example_inputs, strict=True))

    def inputs_of(self, arch: Architecture) -> tuple[Any, ...]:
        """The example inputs as the network of ``arch`` gets them: images are smaller where resolution is a choice."""
        return fitted(self.plan(arch).inputs, self.example_inputs, self.input_names)  # type: ignore[no-any-return]

    # Running -----------------------------------------------------------------------------------------------------

    def forward(self, *inputs: Any, arch: Architecture | Relaxed | None = None, **kwargs: Any) -> Any:
        """Run a subnet: ``arch``, else the innermost ``active`` of this thread, else the largest.

        In evaluation mode, once calibration batches are recorded, batch norms use the architecture's own statistics.

        Raises:
            InvalidArchitecture: for an architecture of another space.
            InvalidModel: while tracing, exporting or compiling: extract first.
        """
        refuse_tracing()
        with self._shadow.lock, self._shadow.running(self._program(arch or self.current)):
            return self.model(*inputs, **kwargs)

    @property
    def current(self) -> Architecture | Relaxed:
        """The architecture or relaxation that a call without ``arch`` runs in this thread."""
        stack: list[Architecture | Relaxed] = getattr(self._local, "stack", [])
        return stack[-1] if stack else self.largest

    @contextmanager
    def active(self, arch: T) -> Iterator[T]:
        """Inside the ``with``, calls without ``arch`` in this thread run this one; the model is not changed."""
        if not isinstance(arch, Architecture | Relaxed):
            raise InvalidModel(f"active() takes an Architecture or Relaxed, got {arch!r}; space.architecture({{...}})")
        if isinstance(arch, Relaxed):
            arch.check(self.space)
        else:
            self.plan(arch)  # refuses other spaces before anything runs
        if not hasattr(self._local, "stack"):
            self._local.stack = []
        stack: list[Any] = self._local.stack
        stack.append(arch)
        try:
            yield arch
        finally:
            stack.pop()

    @contextmanager
    def sampled(self, rng: np.random.Generator | None = None) -> Iterator[Architecture]:
        """:meth:`active` with a random architecture, drawn with ``rng`` or else with the supernet's own generator."""
        with self.active(self.random(self._sampler if rng is None else rng)) as arch:
            yield arch

    # Plans -------------------------------------------------------------------------------------------------------

    def plan(self, arch: Architecture) -> Plan:
        """The plan of ``arch`` for every tensor, without calibrated statistics."""
        with self._shadow.lock:
            return self._bound(arch).plan

    def calibrated_plan(self, arch: Architecture) -> Plan:
        """:meth:`plan` with the architecture's batch-norm statistics, where batches are recorded."""
        with self._shadow.lock:
            return self._evaluated(arch).plan

    def extract(self, arch: Architecture, *, calibrated: bool = True) -> nn.Module:
        """``arch`` as a network of its own, in evaluation mode: plain classes, no trace of archsmith.

        ``state_dict`` keys are the model's own wherever no choice module was replaced.

        Args:
            arch: of this space.
            calibrated: with the architecture's own batch-norm statistics, where batches are recorded.
        """
        with self._shadow.lock:
            self._refuse_running()
            plan = self.calibrated_plan(arch) if calibrated else self.plan(arch)
            return extracted(self.model, plan, self.structure.numbers(arch), self._policy_tensors)

    def network(self, arch: Architecture) -> nn.Module:
        """:meth:`extract`, with a resize of images to the size in ``arch``, where that is a choice."""
        network = self.extract(arch)
        if sizes := self.plan(arch).inputs:
            vars(network)["forward"] = Resizing(network, sizes)
        return network

    def pieces(self, arch: Architecture, *, calibrated: bool = True) -> Pieces:
        """The parts from which :meth:`extract` builds ``arch``, without copies: for files made without a network."""
        with self._shadow.lock:
            self._refuse_running()
            plan = self.calibrated_plan(arch) if calibrated else self.plan(arch)
            return pieces(self.model, plan, self._policy_tensors)

    def stock(self, arch: Architecture) -> nn.Module:
        """``arch`` as the model's own class builds it from a smaller configuration, with the subnet's weights.

        What ``save_pretrained`` then writes loads anywhere with the stock class. Ask for such a space with
        ``homogeneous=True``.

        Raises:
            InvalidModel: for a model without a transformers configuration, or where none expresses ``arch``.
        """
        network = self.extract(arch)
        return Stock(self.model, self.structure).build(arch, network)

    def record_calibration(self, batches: Iterable[Any]) -> None:
        """Keep batches of *training* data from which batch-norm statistics of every subnet are computed.

        Args:
            batches: inputs or ``(inputs, targets)`` each; several inputs are a tuple, or a dict by name.

        Raises:
            InvalidData: for no batches.
        """
        kept = tuple(batch_of(b) for b in batches)
        if not kept:
            raise InvalidData("no calibration batches were given; give at least one batch of training data")
        with self._shadow.lock:
            self._calibration = kept
            self._calibrated.clear()

    @property
    def calibration(self) -> tuple[CalibrationBatch, ...]:
        """The recorded calibration batches; none at first."""
        return self._calibration

    @property
    def weights_fingerprint(self) -> str:
        """Sixteen hexadecimal digits of all parameters and buffers."""
        digest = hashlib.sha256()
        for name, tensor in self.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()[:16]

    def sort_units(
        self,
        *,
        by: Importance = "l1",
        batches: Iterable[Any] = (),
        loss: Callable[[Any, Any], torch.Tensor] | None = None,
    ) -> None:
        """Put the units of every width in the order of their importance, so that smaller widths keep what matters.

        The outputs of the largest architecture stay as they are, up to rounding; units of every tensor are reordered,
        so load weights of the original model before, not after.

        Args:
            by: ``"l1"`` or ``"taylor"``, see :func:`archsmith.supernet.importance.sort_units`.
            batches: for ``"taylor"``: pairs ``(inputs, targets)`` of training data; a few are enough.
            loss: for ``"taylor"``: of outputs and targets, a scalar.

        Raises:
            InvalidOption: for another measure, or ``"taylor"`` without batches and loss.
        """
        with self._shadow.lock:
            self._refuse_running()
            sort_units(self.model, self.structure.declared, self.structure.widths, by=by, batches=batches, loss=loss)
            self._calibrated.clear()

    def account(self) -> Account:
        """What became elastic, what stayed rigid and why, and the number of architectures; print it."""
        return account_of(self.model, self.structure)

    def explain(self, name: str) -> str:
        """Everything known about one choice, module or tensor: what is coupled with it, or why it does not vary.

        Raises:
            UnknownName: for a name that is none of these.
        """
        return explained(self.model, self.structure, name)

    @property
    def _policy_tensors(self) -> dict[str, Any]:
        return self.policies._parameters

    # Inside ------------------------------------------------------------------------------------------------------

    def _program(self, arch: Architecture | Relaxed) -> Program:
        if isinstance(arch, Relaxed):
            return arch.program(self.model, self.structure, self._policy_tensors, self._bound)
        return self._bound(arch) if self.model.training else self._evaluated(arch)

    def _bound(self, arch: Architecture) -> PlanProgram:
        """The plan of ``arch`` bound to the model, from the cache where it is there."""
        kept = self._programs.get(arch.key)
        if kept is None:
            plan = self.structure.plan(self.structure.numbers(arch))
            kept = self._programs[arch.key] = (arch, PlanProgram(self.model, plan, self._policy_tensors))
            _forget_oldest(self._programs)
        self._programs.move_to_end(arch.key)
        return kept[1]

    def _evaluated(self, arch: Architecture) -> PlanProgram:
        """:meth:`_bound` with calibrated statistics, where batches are recorded."""
        bound = self._bound(arch)
        if not self._calibration:
            return bound
        version = weights_version(self.model, self._policy_tensors.values())
        key = self.structure.own(arch).key  # choices of other spaces in a product do not change the statistics
        kept = self._calibrated.get(key)
        if kept is None or kept[0] != version:
            overrides = statistics(self._shadow, bound, self._calibration)
            program = PlanProgram(self.model, bound.plan.with_overrides(overrides), self._policy_tensors)
            kept = self._calibrated[key] = (version, program)
            _forget_oldest(self._calibrated)
        self._calibrated.move_to_end(key)
        return kept[1]

    def _prove(self) -> None:
        """Run the smallest architecture once."""
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            check_runs(self._run_example, self.smallest, self.largest)
        finally:
            for module, mode in modes:
                module.training = mode

    def _run_example(self, arch: Architecture) -> None:
        with torch.no_grad(), self.active(arch):
            call(self, self.example_call)

    def _refuse_running(self) -> None:
        if self._shadow.program is not None:
            refuse_copy()

    def __getstate__(self) -> dict[str, Any]:
        with self._shadow.lock:
            self._refuse_running()
            state = dict(self.__dict__)
        for name in ("_shadow", "_local", "_programs", "_calibrated"):
            del state[name]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        for name in self._lifted:
            lifted_again(self.model.get_submodule(name))
        self._set_up()

    def _replicate_for_data_parallel(self) -> Supernet:
        raise InvalidModel(
            "DataParallel copies modules without their locks and shadows; use DistributedDataParallel, one process a "
            "device, or one supernet a device"
        )


def _own_modules(wanted: Elasticity) -> Via:
    if wanted.via == "graph":
        raise InvalidOption("via='graph' replaces modules of the model, which copy=False must not; drop one of the two")
    return "modules"


def _forget_oldest(kept: OrderedDict[str, Any]) -> None:
    while len(kept) > PLANS_KEPT:
        kept.popitem(last=False)
