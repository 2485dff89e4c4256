"""Every error that archsmith raises on purpose.

ArchsmithError
├── UserError                  a mistake that the user can mend; the command line exits with 2
│   ├── UnknownName            no method, device, metric, choice or option of that name
│   ├── InvalidOption          a value outside its rule
│   ├── InvalidSpace           a search space that contradicts itself
│   ├── InvalidArchitecture    not a point of this search space
│   ├── InvalidModel           a network that cannot be made elastic as asked
│   ├── InvalidData            data that cannot be trained or judged on
│   ├── DamagedFile            a checkpoint, store, table or export that can no longer be read
│   ├── MissingTable           a public table that has not been imported here
│   ├── Untrusted              somebody else's file names code to import, a host or a file
│   ├── RunMismatch            a run that belongs to another model, space, data set or version
│   ├── RunLocked              a run that another living process is writing
│   ├── Infeasible             limits that nothing can meet
│   └── MissingExtra           an optional package that is not installed
├── Interrupted                somebody asked to stop; the same command goes on
├── EvaluationFailed           one architecture could not be evaluated; becomes ``status="failed"``
├── DeviceLost                 a device no longer responds; the same command goes on
├── TrainingDiverged           the loss is no longer finite; the last good checkpoint is kept
├── MeasurementFailed          a device could not give a trustworthy figure
└── StorageFull                the disk refused a write; what was committed is intact
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from numbers import Integral, Real
from types import ModuleType
from typing import Any


class ArchsmithError(Exception):
    """The root: catching it catches everything raised on purpose."""


class UserError(ArchsmithError, ValueError):
    """A mistake of the caller: the message names the value, the rule and the way out."""


class UnknownName(UserError):
    """A name that is not among the known ones."""


class InvalidOption(UserError):
    """A value outside the rule of its option."""


class InvalidSpace(UserError):
    """A search space that contradicts itself."""


class InvalidArchitecture(UserError):
    """Not a point of the search space at hand."""


class InvalidModel(UserError):
    """A network that cannot be made elastic, exported or rebuilt as asked."""


class InvalidData(UserError):
    """Data that cannot be trained or judged on."""


class DamagedFile(UserError):
    """A checkpoint, store, table or export that can no longer be read."""


class Untrusted(UserError):
    """Somebody else's file names code, a host or a file; archsmith does not import, connect to or open it."""


class MissingTable(UserError):
    """A public table that has not been imported here."""


class RunMismatch(UserError):
    """A run that belongs to another model, space, data set, option or version."""


class RunLocked(UserError):
    """A run that another living process is writing."""


class Infeasible(UserError):
    """Limits that nothing measured so far can meet."""


class MissingExtra(UserError, ImportError):
    """An optional package that is not installed."""


class Interrupted(ArchsmithError):
    """Somebody asked to stop; everything finished is stored and the same command goes on."""


class EvaluationFailed(ArchsmithError):
    """One architecture could not be evaluated; the reason becomes part of its record."""


class MeasurementFailed(EvaluationFailed):
    """A device could not give a trustworthy figure."""


class DeviceLost(ArchsmithError):
    """A device no longer responds; this says nothing about any architecture."""


class TrainingDiverged(ArchsmithError):
    """The loss is no longer finite."""


class StorageFull(ArchsmithError):
    """The disk refused a write; everything committed before is intact."""


ABORTS_SEARCH = (MissingExtra, StorageFull, RunLocked, DeviceLost, Interrupted)
"""Errors that say nothing about the architecture. They end a search; the same command goes on once they are fixed."""
_COMPARED_NAMES, _COMPARED_CHARACTERS = 1000, 80
"""How many known names are compared with a wrong one, and up to which length: the time grows with both."""
_LISTED_NAMES = 40
"""Known names that a message lists; a user's module may have hundreds."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UnknownName:
    """An error for ``name``, with the nearest of the ``known`` names.

    >>> str(unknown("strategy", "nsga", ["nsga2", "random"]))
    "no strategy is called 'nsga'; did you mean 'nsga2'? Known: nsga2, random"
    """
    known = list(known)
    short = [n for n in known[:_COMPARED_NAMES] if len(n) <= _COMPARED_CHARACTERS]
    near = difflib.get_close_matches(name, short, n=1) if len(name) <= _COMPARED_CHARACTERS else []
    hint = f"; did you mean {near[0]!r}?" if near else "."
    more = f" and {len(known) - _LISTED_NAMES} more" if len(known) > _LISTED_NAMES else ""
    return UnknownName(f"no {kind} is called {name!r}{hint} Known: {', '.join(known[:_LISTED_NAMES]) or 'none'}{more}")


def whole(name: str, value: Any, least: int = 0) -> None:
    """Refuse anything but a whole number from ``least`` on.

    Raises:
        InvalidOption: naming the option, its rule and the value.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InvalidOption(f"{name} must be a whole number from {least} on, got {value!r}")


def number(name: str, value: Any) -> None:
    """Refuse anything but a number.

    Raises:
        InvalidOption: naming the option and the value.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidOption(f"{name} must be a number, got {value!r}")


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional package where it is used.

    Args:
        module: what to import, such as ``"onnxruntime"``.
        extra: the extra of archsmith that installs it.
        purpose: what needs it, as the start of a sentence.

    Raises:
        MissingExtra: naming the extra, when the package is absent.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != module.partition(".")[0]:
            raise  # the package is there; something inside it is broken
        message = f"{purpose} needs the package {module!r}: pip install 'archsmith[{extra}]'"
        raise MissingExtra(message) from error


EXTRA_OF = {
    **dict.fromkeys(("torch", "sklearn", "safetensors"), "torch"),
    **dict.fromkeys(("onnx", "onnxscript", "onnxruntime"), "onnx"),
    **dict.fromkeys(("pandas", "pyarrow", "PIL"), "data"),
    "openvino": "openvino",
    "plotly": "report",
    "psycopg": "postgres",
    "cryptography": "tls",
    "pymoo": "moo",
    "optuna": "optuna",
    **dict.fromkeys(("botorch", "gpytorch"), "bo"),
    **dict.fromkeys(("timm", "torchvision", "transformers", "tokenizers"), "zoo"),
}
"""Package -> the extra of archsmith that installs it."""


def missing_extra(error: ModuleNotFoundError) -> MissingExtra | None:
    """The error to raise instead, when a missing package belongs to one of archsmith's extras; else ``None``.

    >>> str(missing_extra(ModuleNotFoundError("No module named 'torch'", name="torch")))
    "this needs the package 'torch': pip install 'archsmith[torch]', or 'archsmith[all]' for everything"
    """
    package = (error.name or "").partition(".")[0]
    if package not in EXTRA_OF:
        return None
    return MissingExtra(
        f"this needs the package {package!r}: pip install 'archsmith[{EXTRA_OF[package]}]', or 'archsmith[all]' for "
        "everything"
    )
