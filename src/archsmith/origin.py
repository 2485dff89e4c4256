"""How runs, certificates and architecture files record where a model and data come from."""

from __future__ import annotations

from typing import Any, Required, TypedDict

from archsmith.files import misfit


class ModelOrigin(TypedDict, total=False):
    """A model: one of the first three with its options, or ``live``: an object that only its own process has.

    Attributes:
        network: name of a built-in supernet.
        model: ``timm/NAME``, ``torchvision/NAME``, ``hf/FOLDER``.
        factory: ``module:function``.
        live: a label of the object.
        options: of the first three, with the shapes of the data.
        elastic: options of :func:`archsmith.elastic`.
    """

    network: str
    model: str
    factory: str
    live: str
    options: dict[str, Any]
    elastic: dict[str, Any]


class DataOrigin(TypedDict, total=False):
    """Data: the arguments of :func:`archsmith.open_data`; loaders given as objects have only a fingerprint."""

    fingerprint: Required[str]
    spec: str | None
    resize: int | None
    images: int | None
    seed: int
    options: dict[str, Any]


def misfit_of_model(origin: Any) -> str:
    """What is wrong with plain data that should describe a model; empty where nothing is.

    >>> misfit_of_model({"network": "residual_convnet"})
    'it has no options'
    """
    if wrong := misfit(origin, ModelOrigin):
        return wrong
    if len(origin.keys() & {"network", "model", "factory", "live"}) != 1:
        return "a model is one of network, model, factory and live"
    return "" if {"options", "live"} & origin.keys() else "it has no options"
