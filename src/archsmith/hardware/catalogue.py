"""Devices by name: ``onnxruntime:threads=1,batch=64``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from archsmith.errors import InvalidOption, unknown
from archsmith.hardware.base import Device
from archsmith.method import describe, load, names, option_names
from archsmith.trust import refuse_large

ROLE_NAME = "hardware.devices"


@dataclass(frozen=True)
class DeviceInfo:
    """One line of ``archsmith devices``.

    Args:
        name: of the device.
        spec: with its options at their defaults; what ``on=`` accepts.
        unavailable: why it does not work here, and what to do; empty where it works.
        summary: what it is.
        hardware: the hardware that it occupies.
        files: suffixes of the files that it runs; empty where it runs modules only.
    """

    name: str
    spec: str
    unavailable: str
    summary: str
    hardware: str
    files: tuple[str, ...]


def open_device(spec: str | Device) -> Device:
    """The device that ``NAME`` or ``NAME:OPTION=VALUE,...`` names; a device is returned as it is.

    ``remote:HOST:PORT`` is a device behind an agent. ``module:Class`` names a device of the user's own,
    ``module:Class:OPTION=VALUE,...`` gives it options.

    >>> open_device("onnxruntime:batch=64").spec
    'onnxruntime:threads=1,batch=64'

    Raises:
        UnknownName: for a name or option that does not exist, with the nearest.
        InvalidOption: for a value outside its rule, or a device that does not work here.
    """
    if isinstance(spec, Device):
        return spec
    name, options = _parse(spec)
    if ":" not in name and name not in names(ROLE_NAME):
        raise unknown("device", name, names(ROLE_NAME))
    method = load(ROLE_NAME, name)
    if not (isinstance(method, type) and issubclass(method, Device)):
        raise InvalidOption(f"{name} is no device: a device is a subclass of archsmith.hardware.Device")
    known = option_names(method)
    for option in options:
        if option not in known:
            raise unknown(f"option of {name}", option, known)
    refuse_large(f"measure on {spec}", options)
    if why := method.unavailable():
        raise InvalidOption(f"the device {name} does not work here: {why}")
    return method(**options)


def available_devices() -> list[DeviceInfo]:
    """Every device that archsmith knows, working here or not, in alphabetical order."""
    found = []
    for info in describe(ROLE_NAME):
        method = load(ROLE_NAME, info.name)
        unavailable = method.unavailable()
        found.append(DeviceInfo(info.name, method().spec, unavailable, info.summary, method.hardware, method.files))
    return found


def _parse(spec: str) -> tuple[str, dict[str, Any]]:
    """Name and options; a last part without ``=`` belongs to ``module:Class``."""
    known, _, address = spec.partition(":")
    if known.strip() == "remote":  # its address contains a colon, and ``address=`` may be left out
        return "remote", {"address": address.strip().removeprefix("address=")} if address else {}
    name, colon, rest = spec.rpartition(":")
    if not colon or "=" not in rest:
        name, rest = spec, ""
    options: dict[str, Any] = {}
    for item in filter(None, rest.split(",")):
        option, equals, text = (part.strip() for part in item.partition("="))
        if not equals or not option or not text:
            raise InvalidOption(f"cannot read {item!r} in {spec!r}; write NAME:OPTION=VALUE,OPTION=VALUE")
        if option in options:
            raise InvalidOption(f"{option} is given twice in {spec!r}")
        options[option] = _value(text)
    return name.strip(), options


def _value(text: str) -> int | float | str:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text
