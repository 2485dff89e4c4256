"""Shared by sources of published models: importing their packages, and turning their errors into helpful messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from torch import nn

from archsmith.errors import ArchsmithError, InvalidModel, InvalidOption, UserError, require


def library(package: str, spec: str) -> ModuleType:
    """The package that ``spec`` comes from.

    Raises:
        MissingExtra: when it is not installed.
        UserError: when the torchvision that is installed was compiled for another torch.
    """
    try:
        return require(package, extra="zoo", purpose=f"The model {spec!r}")
    except RuntimeError as error:
        if not _torchvision_fails(error):
            raise
        raise _other_torch(spec) from error


def built(spec: str, make: Callable[[], Any], options: Mapping[str, Any], *, unaided: str) -> nn.Module:
    """The network that ``make`` builds, or an error that says why it cannot.

    Args:
        spec: for messages.
        make: builds the network.
        options: of the user, for messages.
        unaided: how to go without a download.

    Raises:
        InvalidOption: for an option that the network does not have.
        InvalidModel: for values that do not fit together, and for files that cannot be fetched or read.
    """
    try:
        found: nn.Module = make()
    except ArchsmithError:
        raise
    except OSError as error:
        raise InvalidModel(
            f"{spec!r}: files that it needs are not on this machine and could not be fetched ({_short(error)}); "
            f"{unaided}"
        ) from error
    except TypeError as error:
        raise InvalidOption(f"{spec!r} cannot be built with {_given(options)}: {_short(error)}") from error
    except Exception as error:  # constructors of published models raise many kinds
        if _torchvision_fails(error):
            raise _other_torch(spec) from error
        raise InvalidModel(f"{spec!r} cannot be built with {_given(options)}: {_short(error)}") from error
    return found


def refuses(error: TypeError, argument: str) -> bool:
    """Whether a constructor failed because it has no such argument."""
    return "unexpected keyword argument" in str(error) and repr(argument) in str(error)


def _torchvision_fails(error: BaseException | None) -> bool:
    """Whether an import ended in torchvision's missing operators, however deep."""
    while error is not None:
        if "torchvision::" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _other_torch(spec: str) -> UserError:
    return UserError(
        f"{spec!r} cannot be built: torchvision, which it needs, was compiled for another torch than the one that is "
        "installed; install both as builds for the same hardware, as PyTorch's installation page says"
    )


def _given(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{k}={v!r}" for k, v in options.items()) or "its defaults"


def _short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
