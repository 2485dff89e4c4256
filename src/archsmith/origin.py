"""How runs, certificates and architecture files say where a model and data come from: plain data, and its form."""

from __future__ import annotations

from typing import Any, Required, TypedDict

from archsmith.files import misfit


class ModelOrigin(TypedDict, total=False):
    """A model: one of the first three with its options, or ``live``, which nothing but its own process can build.

    Attributes:
        network: name of a built-in supernet.
        model: ``timm/NAME``, ``torchvision/NAME``, ``hf/FOLDER``.
        factory: ``module:function``.
        live: says so.
        options: of the first three; shapes of the data among them.
        elastic: options of :func:`archsmith.elastic`.
    """

    network: str
    model: str
    factory: str
    live: str
    options: dict[str, Any]
    elastic: dict[str, Any]


class DataOrigin(TypedDict, total=False):
    """Data: what :func:`archsmith.open_data` takes; live loaders have nothing but a fingerprint."""

    fingerprint: Required[str]
    spec: str | None
    resize: int | None
    images: int | None
    seed: int
    options: dict[str, Any]


def misfit_of_model(origin: Any) -> str:
    """Why plain data describe no model, in words; empty where they do.

    >>> misfit_of_model({"network": "residual_convnet"})
    'it has no options'
    """
    if wrong := misfit(origin, ModelOrigin):
        return wrong
    if len(origin.keys() & {"network", "model", "factory", "live"}) != 1:
        return "a model is one of network, model, factory and live"
    return "" if {"options", "live"} & origin.keys() else "it has no options"
