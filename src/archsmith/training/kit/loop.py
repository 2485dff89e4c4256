"""The loop that every training method shares."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from archsmith.errors import InvalidData, InvalidOption, TrainingDiverged, number, whole
from archsmith.method import make
from archsmith.supernet.required import refuse_plain
from archsmith.supernet.supernet import Supernet
from archsmith.training.base import Loss, TrainingMethod
from archsmith.training.kit import optimizer as _optimizer
from archsmith.training.kit.batch import Amp, Loader, Precision, TrainingBatch, checked, epochs_of, steps_in
from archsmith.training.kit.checkpoint import NAME, Checkpoint


@dataclass(frozen=True, kw_only=True)
class TrainingProgress:
    """The progress of a training after a step.

    Args:
        epoch: from 1.
        epochs: in all.
        step: of the epoch, from 1.
        steps: an epoch.
        losses: mean of each over the epoch so far, by the subnet's role in a batch.
        elapsed_s: since this call began.
        remaining_s: estimated from the steps that this call has done.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    losses: Mapping[str, float]
    elapsed_s: float
    remaining_s: float


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """The result of a training.

    Args:
        completed: whether all epochs are done; ``False`` after ``stop`` asked to stop.
        epochs: done, those before a resume among them.
        history: one row an epoch: ``epoch``, ``seconds``, ``lr`` at its end, and ``loss_PART`` for each part.
        resumed_from: epochs that the checkpoint held when this call began; 0 for none.
        seconds: that this call took.
    """

    completed: bool
    epochs: int
    history: tuple[Mapping[str, float], ...]
    resumed_from: int
    seconds: float


def train(  # noqa: PLR0913 - keyword options, each with a default
    supernet: Supernet,
    loader: Loader,
    *,
    method: str | TrainingMethod = "sandwich",
    options: Mapping[str, Any] | None = None,
    loss: Loss | None = None,
    epochs: int = 10,
    optimizer: str = "adamw",
    lr: float | None = None,
    weight_decay: float | None = None,
    warmup_epochs: float = 1.0,
    clip_norm: float | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
    amp: Amp = None,
    checkpoint: Path | str | None = None,
    on_progress: Callable[[TrainingProgress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> TrainingReport:
    """Train the weights that all subnets share.

    Deterministic given ``seed`` and the loader on one processor. Modes of the modules are as they were afterwards,
    gradients are cleared, and torch's global generator, which dropout draws from, is as it was.

    Args:
        supernet: trained in place.
        loader: any collection of ``(inputs, targets)`` that can be read every epoch: a ``DataLoader``, a list,
            ``Data.batches(...)``. Inputs are a tensor, a tuple of them, or a dict by name. Its (or its sampler's)
            ``set_epoch`` is called where there is one.
        method: which subnets learn from a batch, and from what; see ``archsmith methods training``.
        options: of the method, by name.
        loss: ``loss(outputs, targets) -> scalar``; cross-entropy where ``None``.
        epochs: passes over the loader.
        optimizer: ``"adamw"`` or ``"sgd"`` (Nesterov momentum 0.9).
        lr: peak learning rate: it rises linearly for ``warmup_epochs``, then falls along a cosine to zero.
        weight_decay: of all but biases and norms.
        warmup_epochs: may be a fraction; at most half of ``epochs`` is used.
        clip_norm: largest norm of the gradient of a step; ``None`` leaves it alone.
        seed: of the subnets drawn and of dropout.
        device: to move the supernet to; where it is, if ``None``.
        amp: mixed precision; ``None`` uses it on CUDA devices, ``"bf16"`` is bfloat16 on any device.
        checkpoint: folder in which the state is kept after every epoch, and from which a training goes on.
        on_progress: called after every step.
        stop: called after every step; once it returns true, the supernet goes back to the last finished epoch and the
            training ends.

    Raises:
        InvalidModel: for anything but a supernet.
        InvalidData: for an empty loader, batches of another form, or labels that the network has no output for.
        InvalidOption: for options out of range.
        TrainingDiverged: when a loss is not finite; the supernet has the weights of the last finished epoch.
        RunMismatch: when the checkpoint was begun with other options.
        DamagedFile: when the checkpoint cannot be read.
        StorageFull: when a checkpoint cannot be written.
    """
    refuse_plain(supernet, "training")
    chosen: TrainingMethod = make("training", method, **(options or {}))
    rate, decay = _optimizer.check_rates(optimizer, lr, weight_decay)
    _check(epochs, warmup_epochs, clip_norm, seed)
    if device is not None:
        _move(supernet, device)
    here = next(supernet.parameters()).device
    steps = steps_in(loader)
    warmup = round(min(warmup_epochs, epochs / 2) * steps)
    recipe = {
        "method": type(chosen).__name__,
        **{f"method.{name}": _plain(value) for name, value in vars(chosen).items()},
        "loss": "cross_entropy" if loss is None else getattr(loss, "__qualname__", type(loss).__name__),
        "epochs": epochs,
        "steps": steps,
        "optimizer": optimizer,
        "lr": rate,
        "weight_decay": decay,
        "warmup_epochs": warmup_epochs,
        "clip_norm": clip_norm,
        "seed": seed,
        "space": supernet.space.fingerprint,
        "model": _shapes(supernet),
    }
    training = _Training(
        supernet=supernet,
        loader=loader,
        method=chosen,
        loss=checked(F.cross_entropy if loss is None else loss),
        optimizer=_optimizer.build(optimizer, supernet, weight_decay=decay),
        schedule=_optimizer.Schedule(lr=rate, warmup=warmup, steps=epochs * steps),
        epochs=epochs,
        steps=steps,
        clip_norm=clip_norm,
        seed=seed,
        device=here,
        precision=Precision.of(here, amp=amp),
        folder=None if checkpoint is None else Path(checkpoint),
        recipe=recipe,
        on_progress=on_progress or (lambda _: None),
        stop=stop or (lambda: False),
    )
    with _training_mode(supernet):
        return training.run()


class _Stopped(Exception):
    """The caller asked to stop."""


@dataclass
class _Training:
    """One call of :func:`train`, its options checked."""

    supernet: Supernet
    loader: Loader
    method: TrainingMethod
    loss: Loss
    optimizer: torch.optim.Optimizer
    schedule: _optimizer.Schedule
    epochs: int
    steps: int
    clip_norm: float | None
    seed: int
    device: torch.device
    precision: Precision
    folder: Path | None
    recipe: Mapping[str, Any]
    on_progress: Callable[[TrainingProgress], None]
    stop: Callable[[], bool]
    history: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision.dtype is torch.float16)
        self.started = time.monotonic()
        self.done_before = 0
        self.last_good: dict[str, Tensor] = {}

    def run(self) -> TrainingReport:
        """All epochs that are left."""
        self._resume()
        self.done_before = len(self.history)
        completed = True
        self._remember()
        try:
            for epoch in range(self.done_before, self.epochs):
                self._epoch(epoch)
                self._remember()
                self._save()
        except _Stopped:
            completed = False
            self._restore()
        return TrainingReport(
            completed=completed,
            epochs=len(self.history),
            history=tuple(self.history),
            resumed_from=self.done_before,
            seconds=time.monotonic() - self.started,
        )

    def _epoch(self, epoch: int) -> None:
        """One pass; everything random in it depends on seed and epoch alone."""
        start, rng = time.monotonic(), np.random.default_rng([self.seed, epoch])
        sums: dict[str, float] = {}
        step = 0
        with _seeded(int(rng.integers(2**63)), self.device):
            for item in epochs_of(self.loader, epoch):
                losses = self._step(item, epoch, step, rng)
                step += 1
                sums = {part: sums.get(part, 0.0) + value for part, value in losses.items()}
                self._tell(epoch, step, {part: total / step for part, total in sums.items()})
                if self.stop():
                    raise _Stopped
        if step == 0:
            raise InvalidData(f"the loader gave no batch in epoch {epoch + 1}; it must be readable every epoch")
        row = {"epoch": epoch + 1, "seconds": time.monotonic() - start, "lr": self.optimizer.param_groups[0]["lr"]}
        self.history.append(row | {f"loss_{part}": total / step for part, total in sums.items()})

    def _step(self, item: Any, epoch: int, step: int, rng: np.random.Generator) -> dict[str, float]:
        lr = self.schedule.at(epoch * self.steps + step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        batch = TrainingBatch.of(item, self.device)
        run = batch.runner(self.supernet, self.device, self.precision)
        self.optimizer.zero_grad(set_to_none=True)
        losses = self.method.backward(
            self.supernet, run, batch.targets, loss=self.loss, rng=rng, scale=self.scaler.scale
        )
        if bad := {part: value for part, value in losses.items() if not math.isfinite(value)}:
            self._diverged(bad, epoch, step, lr)
        if self.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.supernet.parameters(), self.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return losses

    def _diverged(self, bad: Mapping[str, float], epoch: int, step: int, lr: float) -> None:
        self._restore()
        kept = f", also in {self.folder / NAME}" if self.folder and self.history else ""
        listed = ", ".join(f"{part} {value}" for part, value in bad.items())
        raise TrainingDiverged(
            f"the loss is not finite in epoch {epoch + 1}, step {step + 1} of {self.steps} (subnet: {listed}) at lr "
            f"{lr:.3g}. The supernet has the weights after epoch {len(self.history)}{kept}. A lower lr (a third), "
            "clip_norm=1.0 or a longer warm-up usually helps; NaN in the inputs has the same effect"
        )

    def _tell(self, epoch: int, step: int, losses: Mapping[str, float]) -> None:
        elapsed = time.monotonic() - self.started
        done = (epoch - self.done_before) * self.steps + step
        left = (self.epochs - self.done_before) * self.steps - done
        self.on_progress(
            TrainingProgress(
                epoch=epoch + 1,
                epochs=self.epochs,
                step=step,
                steps=self.steps,
                losses=losses,
                elapsed_s=elapsed,
                remaining_s=elapsed / done * left,
            )
        )

    def _resume(self) -> None:
        kept = Checkpoint.load(self.folder) if self.folder else None
        if kept is None:
            return
        kept.check_recipe(self.recipe, self.folder or Path())
        self.supernet.load_state_dict(dict(kept.of_kind("weights")))
        _optimizer.load_state_tensors(self.optimizer, kept.of_kind("optimizer"))
        self.scaler.load_state_dict(kept.state["scaler"])
        self.history = [dict(row) for row in kept.state["history"]]

    def _save(self) -> None:
        if self.folder is None:
            return
        tensors = {f"weights/{name}": t for name, t in self.supernet.state_dict().items()}
        tensors |= {f"optimizer/{name}": t for name, t in _optimizer.state_tensors(self.optimizer).items()}
        state = {"history": self.history, "scaler": self.scaler.state_dict()}
        Checkpoint(tensors, self.recipe, state).save(self.folder)

    def _remember(self) -> None:
        self.last_good = {name: t.detach().clone() for name, t in self.supernet.state_dict().items()}

    def _restore(self) -> None:
        self.supernet.load_state_dict(self.last_good)


def _check(epochs: int, warmup_epochs: float, clip_norm: float | None, seed: int) -> None:
    whole("epochs", epochs, 1)
    whole("seed", seed)
    number("warmup_epochs", warmup_epochs)
    if clip_norm is not None:
        number("clip_norm", clip_norm)
    if not 0 <= warmup_epochs < math.inf:
        raise InvalidOption(f"warmup_epochs must be 0 or more, got {warmup_epochs}")
    if clip_norm is not None and not 0 < clip_norm < math.inf:
        raise InvalidOption(f"clip_norm must be above 0, got {clip_norm}; None leaves gradients alone")


def _move(supernet: Supernet, device: str | torch.device) -> None:
    try:
        supernet.to(device)
    except (RuntimeError, AssertionError) as error:  # torch raises an assertion if it was not built for the device
        raise InvalidOption(f"cannot train on device={str(device)!r}: {str(error).splitlines()[0]}") from error


def _plain(value: Any) -> Any:
    """An option of a method as JSON, functions by their name."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if callable(value):
        return getattr(value, "__qualname__", type(value).__name__)
    return str(value)


def _shapes(supernet: Supernet) -> str:
    """Sixteen hexadecimal digits of the names and shapes of all weights."""
    text = repr([(name, tuple(t.shape), str(t.dtype)) for name, t in supernet.state_dict().items()])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextmanager
def _training_mode(supernet: Supernet) -> Iterator[None]:
    """Training mode for the block; afterwards the modes are as they were and no gradient is left."""
    modes = [(module, module.training) for module in supernet.modules()]
    supernet.train()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        supernet.zero_grad(set_to_none=True)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's global generators, which dropout draws from, start at ``seed`` and are as they were afterwards."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
