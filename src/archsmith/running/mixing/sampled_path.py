"""One drawn architecture runs; a gate on each option passes the gradient to its probability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from torch import Tensor, nn

from archsmith.method import Paper
from archsmith.running.mixing.base import Mixing, RelaxedCall
from archsmith.running.shadow import Assignment, PlanProgram, Program
from archsmith.running.weighted import Weighted
from archsmith.structure.axes import Numbers
from archsmith.structure.blocks import Blocks, Branch
from archsmith.structure.choices import ChoiceModule
from archsmith.structure.resolution import Resizing
from archsmith.structure.structure import Structure, qualified


@final
class SampledPath(Mixing):
    """One option of each choice is drawn and runs alone; in the backward pass its probability stands for the gate.

    The gate has the value 1, so that the network computes what the drawn architecture computes; options that were not
    drawn get no gradients. GDAS draws with the Gumbel trick; this rule draws from the probabilities as they are.
    """

    paper = Paper(
        authors="Dong, Xuanyi and Yang, Yi",
        title="Searching for a Robust Neural Architecture in Four GPU Hours",
        year=2019,
        venue="CVPR",
        arxiv="1910.04465",
    )
    draws = True

    def program(self, call: RelaxedCall) -> Program:
        """The program of the drawn architecture, with gates."""
        architecture = call.draw()
        path = call.bind(architecture)
        return _SampledPath(call.model, call.structure, call.probabilities, call.structure.numbers(architecture), path)


class _SampledPath:
    """One architecture runs; a gate of value 1 on each option passes the gradient to its probability."""

    def __init__(
        self,
        model: nn.Module,
        structure: Structure,
        probabilities: Mapping[str, Tensor],
        numbers: Numbers,
        path: PlanProgram,
    ) -> None:
        self._model, self._structure, self._path = model, structure, path
        self._probabilities, self._numbers = probabilities, numbers

    def _gate(self, choice: str) -> Tensor:
        p = self._probabilities[choice][self._numbers[choice]]
        return 1 + p - p.detach()

    def assignments(self) -> list[Assignment]:
        found = list(self._path.assignments())
        sliced = {id(place): values for place, values in found}
        for name, declared in self._structure.declared.items():
            if declared.consumes is None or not self._structure.live(name, self._numbers):
                continue
            tensor, dim = declared.consumes
            axis = declared.tensors[tensor][dim]
            choices = [width.choice for width in axis.widths] if axis is not None else []
            choices += [declared.kernel.choice] if declared.kernel is not None else []
            if choices:
                module = self._model.get_submodule(name)
                weight = sliced.get(id(module.__dict__), {}).get(tensor, module.get_parameter(tensor))
                for choice in dict.fromkeys(choices):
                    weight = weight * self._gate(choice).to(weight)
                found.append((module.__dict__, {tensor: weight}))
        for path, container in self._structure.containers.items():
            if isinstance(container, ChoiceModule):
                if self._structure.live(path, self._numbers):
                    found.append((container.__dict__, {"_gate": self._gate(container.name)}))
            elif (last := self._last(path, container)) is not None:
                found.append((last.__dict__, {"forward": Weighted(last.forward, self._gate(container.name))}))
        return found + self._images()

    def _last(self, path: str, container: Blocks | Branch) -> nn.Module | None:
        """The last module that the option of a container runs; ``None`` where the container does not run."""
        number = self._numbers[container.name]
        if isinstance(container, Branch):
            return self._model.get_submodule(path) if number and self._structure.live(path, self._numbers) else None
        child = [c for c in container.children if c not in container.dropped(number)][-1]
        chains = self._structure.chains[path]
        runs = any(all(self._numbers[c] in some for c, some in chain if c != container.name) for chain in chains)
        return self._model.get_submodule(qualified(path, child)) if runs else None

    def _images(self) -> list[Assignment]:
        """The gate of the image size, on the images."""
        if (resolution := self._structure.resolution) is None:
            return []
        gates = {resolution.place: self._gate(resolution.name)}
        return [(self._model.__dict__, {"forward": Resizing(self._model, self._path.plan.inputs, gates)})]

    def finish(self, assignments: Sequence[Assignment]) -> None:
        self._path.finish(assignments)

    def resume(self, assignments: Sequence[Assignment]) -> None:
        self._path.resume(assignments)
