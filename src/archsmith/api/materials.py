"""What a run works with: the supernet, the data and the device, given by the user or built again from ``run.json``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from archsmith import method as registry
from archsmith.api.building import elastic
from archsmith.api.elastic_options import check_takes, plain_elastic
from archsmith.api.progress import Listener, Progress, nobody
from archsmith.api.run import Run
from archsmith.architecture import Architecture
from archsmith.data import open_data
from archsmith.data.base import AnyData
from archsmith.errors import (
    ArchsmithError,
    DamagedFile,
    InvalidModel,
    InvalidOption,
    RunMismatch,
    UnknownName,
    require,
)
from archsmith.evaluator._precisions import JointSpace, Precisions
from archsmith.evaluator._quantised_files import policy_of
from archsmith.export._quantised import Policy
from archsmith.files import replacing
from archsmith.hardware import open_device
from archsmith.models import FORMS, refuse_fetching, source_named
from archsmith.space import ChoiceSpace
from archsmith.supernet import Supernet
from archsmith.supernet._calibration import Batch
from archsmith.trust import Names, foreign, names_of, refuse_large

EVALUATION_BATCH = 256
"""Inputs a forward pass while a split is judged; larger ones are no faster on a processor's caches."""
WEIGHTS = ("supernet", "calibration")
"""The files that :func:`save_weights` writes, without ``.safetensors``."""
UNIFORM = 8
"""Random networks in one precision that a search over precisions begins with."""
_MANY = ("classes", "tokens", "vocabulary")
"""Sizes that are large without harm."""
SHAPE = ("channels", "classes", "image_size", "tokens", "vocabulary")
"""What a source of models is told of the data."""
_WAY_OUT = "restore it, or give the run's search again: it makes the file anew"


@dataclass(frozen=True)
class Materials:
    """Everything that searching and exporting need beside the store.

    Args:
        supernet: trained, with its calibration batches recorded.
        source: how the supernet's model is built again, plain data; ``None`` for a live Python model.
        val: what the search judges on; ``None`` where it is not at hand.
        test: what only the final networks are judged on; ``None`` where there is none.
        on: devices to measure on, as text, by name.
        data: how the data are read again, plain data; ``None`` or without ``spec`` where they are live loaders.
        anchors: device -> the reference's time that this run's latencies on it are based on, once it is known.
        joint: the precisions of layers, where they are searched or fixed.
        names: whose names ``source``, ``on`` and ``data`` are; ``None`` for those that the user gave.
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
        """What is searched: the supernet's space, with the choices of precisions where there are any."""
        return self.supernet.space if self.joint is None else self.joint.space

    @property
    def largest(self) -> Architecture:
        """The largest network, in the widest precisions that it may have."""
        return self.supernet.largest if self.joint is None else self.joint.join(self.supernet.largest)

    @property
    def weight_bits(self) -> int:
        """Of int8 layers: what all devices can, so that they run, and accuracy is judged on, the same network."""
        return min(open_device(spec).weight_bits for spec in self.on.values())

    def first(self, seed: int) -> list[Architecture]:
        """What every search begins with: the largest and the smallest network, each in every precision there is.

        Where precisions are searched, also some random networks that are in the narrowest one throughout: a quantised
        layer pays most where its neighbours are quantised too, which networks of mixed precisions do not show.
        """
        supernet = self.supernet
        if self.joint is None:
            return [supernet.largest, supernet.smallest]
        wanted = self.joint.wanted.options
        found = [self.joint.join(arch, p) for arch in (supernet.largest, supernet.smallest) for p in wanted]
        if self.joint.choices:
            drawn = supernet.space.sample(UNIFORM, np.random.default_rng([seed, UNIFORM]))
            found += [self.joint.join(arch, wanted[-1]) for arch in drawn]
        return list(dict.fromkeys(found))

    def split(self, arch: Architecture) -> tuple[Architecture, Policy]:
        """The supernet's architecture, and the precision of every layer."""
        return policy_of(self.joint, arch)


def build(
    source: Mapping[str, Any], *, seed: int = 0, weights: bool = True, on_progress: Listener = nobody
) -> Supernet:
    """The untrained supernet that ``source`` describes.

    Args:
        source: ``{"network": NAME, "options": {...}}``, ``{"factory": "module:function", "options": {...}}`` or
            ``{"model": "timm/NAME", "options": {...}}``; the latter two may say ``"elastic": {...}``, which are
            options of :func:`archsmith.elastic`.
        seed: of the initial weights; torch's own generator is left as it was.
        weights: whether pretrained ones are loaded, where the source asks for them; ``False`` where others are put in
            afterwards.
        on_progress: hears what is being done: a published model is traced, which takes seconds.

    Raises:
        UnknownName: when there is no such network.
        InvalidModel: when the source gives no network, or one with nothing elastic.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _built(source, weights=weights, on_progress=on_progress)


def rebuild(source: Mapping[str, Any], *, on_progress: Listener = nobody) -> Supernet:
    """:func:`build` for weights that come from a file of ours: nothing is fetched."""
    return build(source, weights=False, on_progress=on_progress)


def check_model(model: str, elastic: Mapping[str, Any]) -> None:
    """Refuse what cannot be built, as far as that is known before the data are read.

    Args:
        model: its name.
        elastic: options of :func:`archsmith.elastic`.

    Raises:
        UnknownName: naming the nearest.
        MissingExtra: when the package that it comes from is not installed.
        InvalidOption: for options of elasticity that are wrong, or that this network has no use for.
    """
    plain_elastic(elastic)
    if "/" in model or ":" in model:
        return source_named(model).check(model)
    try:
        registry.load("supernet.networks", model)
    except UnknownName as error:
        raise UnknownName(f"{error}; other models are written {FORMS}") from error
    return check_takes(model, None, elastic)


def _built(source: Mapping[str, Any], *, weights: bool, on_progress: Listener) -> Supernet:
    options, wanted = dict(source["options"]), plain_elastic(source.get("elastic", {}))
    name = next(source[kind] for kind in ("network", "model", "factory") if kind in source)
    refuse_large(f"build {name}", [{k: v for k, v in options.items() if k not in _MANY}, wanted])
    if "network" in source:
        network = registry.load("supernet.networks", name)
        registry.check_options(network.build, options)
        try:
            found = network.build(**options)
        except ArchsmithError:
            raise
        except (TypeError, ValueError, RuntimeError) as error:  # what values of a wrong kind end in
            given = ", ".join(f"{k}={v!r}" for k, v in options.items())
            raise InvalidOption(f"{name}({given}) cannot be built: {error}; lists are written NAME=1,2") from error
    else:
        try:
            example = _example(options)
        except (TypeError, ValueError, KeyError, RuntimeError, MemoryError) as error:
            raise InvalidOption(f"no inputs can be made for {name} with {options}: {error}") from error
        shape = {key: options.pop(key, None) for key in SHAPE}
        refuse_fetching(name, options)
        maker = source_named(name)
        found = maker.build(name, **shape, **(options if weights else {**options, **maker.without_weights}))
    check_takes(name, found, wanted)
    if isinstance(found, Supernet):
        return found
    if example is None:
        raise InvalidModel(f"{source} gives a plain module; return archsmith.elastic(module, example_inputs)")
    return elastic(found, example, **wanted, on_progress=on_progress)


def _example(options: dict[str, Any]) -> Any:
    """Inputs of one call that fit the data which a source was made for; ``None`` where it does not tell.

    Images are zeros; texts are token ids drawn at random, every second of them padded.
    """
    names = options.pop("inputs", None)
    if options.get("image_size"):
        return torch.zeros(2, options["channels"], *options["image_size"])
    if not names:
        return None
    tokens, rng = options["tokens"], np.random.default_rng(0)
    mask = torch.ones(2, tokens, dtype=torch.long)
    mask[1, 1 + tokens // 2 :] = 0
    known = {
        "input_ids": torch.from_numpy(rng.integers(0, options["vocabulary"], (2, tokens))),
        "attention_mask": mask,
        "token_type_ids": 1 - mask,  # a second text where the first has its padding
    }
    return {name: known[name] for name in names}


def source_of(
    model: str, options: Mapping[str, Any], data: AnyData, elastic: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """How the network that ``model`` names is built for ``data``, as plain data.

    Args:
        model: its name.
        options: of the network.
        data: that it is built for.
        elastic: options of :func:`archsmith.elastic`, for a model that becomes elastic by it.

    Raises:
        InvalidOption: for an option that contradicts the data.
        InvalidModel: for a built-in network and data that it is not for.
    """
    shape = data.network_options
    if wrong := [f"{name}={options[name]!r}" for name in shape if name in options]:
        raise InvalidOption(f"the network is built for the data, so {', '.join(wrong)} cannot be given as its option")
    kind = "model" if "/" in model else "factory" if ":" in model else "network"
    if kind == "network" and "tokens" in shape:
        raise InvalidModel(f"{model} is a network for images, the data are texts; give --model hf/FOLDER, or {FORMS}")
    return {
        kind: model,
        "options": {**shape, **{k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}},
        **({"elastic": plain_elastic(elastic)} if elastic else {}),  # runs without them keep the source they had
    }


def save_weights(run: Run, supernet: Supernet) -> None:
    """Keep the trained weights and the calibration batches in the run's folder."""
    safetensors = require("safetensors.torch", extra="torch", purpose="saving the supernet's weights")
    for name, tensors in (
        # copies: tied weights are stored under each of their names, as load_state_dict wants them
        ("supernet", {k: v.detach().cpu().contiguous().clone() for k, v in supernet.state_dict().items()}),
        ("calibration", _flat(supernet.calibration)),
    ):
        with replacing(run.path / f"{name}.safetensors") as temporary:
            temporary.write_bytes(safetensors.save(tensors))  # its own writer does not say that a disk is full


def load_weights(run: Run, supernet: Supernet) -> None:
    """Put the kept weights and calibration batches into ``supernet``.

    Raises:
        DamagedFile: when a file is missing or cannot be read.
        RunMismatch: when the weights are those of another network.
    """
    weights, batches = _load(run, "supernet"), _batches(_load(run, "calibration"))
    try:
        supernet.load_state_dict(weights)
    except RuntimeError as error:
        raise RunMismatch(f"the weights in {run.path} do not fit the network any more: {error}") from error
    if batches:
        supernet.record_calibration(batches)
    if supernet.weights_fingerprint != run.weights:
        raise DamagedFile(f"{run.path / 'supernet.safetensors'} holds other weights than the run found; {_WAY_OUT}")


def materials_of(run: Run, *, data: str | None = None, on_progress: Listener = nobody) -> Materials:
    """Everything built again from a run's folder.

    Args:
        run: finished or not, but trained.
        data: where the data lies now, if it has moved; it is checked to be the same.
        on_progress: hears what is being done.

    Raises:
        InvalidModel: when the run was begun from a live Python model.
        RunMismatch: when the data at hand are others.
        Untrusted: when the run is somebody else's and names code, files or agents.
    """
    with names_of(run.names):
        return _materials_of(run, data, on_progress)


def _materials_of(run: Run, data: str | None, on_progress: Listener) -> Materials:
    source = run.fixed["model"]
    if source is None:
        raise InvalidModel(
            f"{run.path} was searched from a live Python model, so its networks cannot be rebuilt here; "
            'give smith.search(..., model="module:factory") a function that builds it'
        )
    if foreign():
        for spec in run.devices.values():
            open_device(spec)  # before anything is built: refuses agents and code
    supernet = rebuild(source, on_progress=on_progress)
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
                f"the run has {described['fingerprint']}); restore them, or give --data where they lie"
            )
        val, test = (found.batches(split, EVALUATION_BATCH) for split in ("val", "test"))
    joint = joint_space(supernet, None, kept=run.fixed.get("precisions"))
    return Materials(supernet, source, val, test, run.devices, described, run.anchors, joint, run.names)


def precisions_on(on: Mapping[str, str], wanted: str | Sequence[str] | Precisions | None = None) -> Precisions | None:
    """The precisions that layers may have on these devices; ``None`` where nothing is quantised.

    Args:
        on: devices by name; one of precision int8 has all layers in int8.
        wanted: what may be chosen.

    Raises:
        InvalidOption: for what a device cannot run, or devices that contradict.
    """
    devices = {name: open_device(spec) for name, spec in on.items()}
    asked = Precisions.of(wanted)
    whole = [d.spec for d in devices.values() if d.precision == "int8"]
    if whole and asked is not None:
        raise InvalidOption(f"{whole[0]} has every layer in int8; leave out its precision, or precisions")
    if whole and len(whole) < len(devices):
        raise InvalidOption(f"{whole[0]} computes in int8 and another device does not; give precisions='int8' instead")
    if whole:
        asked = Precisions(options=("int8",))
    if asked is not None:
        asked.check(devices)
    return asked


def joint_space(
    supernet: Supernet,
    wanted: Precisions | None,
    *,
    kept: Mapping[str, Any] | None = None,
    on_progress: Listener = nobody,
) -> JointSpace | None:
    """The precisions of a supernet's layers; ``None`` where nothing is quantised.

    Args:
        supernet: whose layers they are of.
        wanted: what may be chosen.
        kept: what a run says that goes on, instead.
        on_progress: hears what is being done: the largest network is exported, which takes seconds.

    Raises:
        InvalidOption: for layers to keep that there are not.
        InvalidModel: for a network that cannot be quantised.
    """
    if kept is not None:
        return JointSpace.from_json(supernet.space, kept)
    if wanted is None:
        return None
    on_progress(Progress("quantise", "exporting the largest network to find its layers"))
    found = JointSpace.of(supernet, wanted)
    on_progress(Progress("quantise", f"{len(found.choices)} choices of {', '.join(wanted.options)}", 1, 1))
    return found


def _load(run: Run, name: str) -> dict[str, Tensor]:
    safetensors = require("safetensors.torch", extra="torch", purpose="loading the supernet's weights")
    path = run.path / f"{name}.safetensors"
    if not path.is_file():
        raise DamagedFile(f"{path} is missing; give the run's `archsmith search` command again to make it")
    try:
        found: dict[str, Tensor] = safetensors.load_file(path)
    except Exception as error:  # safetensors raises a class of its own that is not exported
        raise DamagedFile(f"{path} cannot be read ({error}); {_WAY_OUT}") from error
    return found


def _flat(batches: Iterable[Batch]) -> dict[str, Tensor]:
    """Batches as named tensors: ``0.1`` is the second input of the first batch, ``0.mask`` a named one."""
    found: dict[str, Tensor] = {}
    for number, batch in enumerate(batches):
        parts = batch.keywords.items() or enumerate(batch.inputs)
        found |= {f"{number}.{key}": tensor.detach().cpu().contiguous() for key, tensor in parts}
    return found


def _batches(flat: Mapping[str, Tensor]) -> list[Any]:
    grouped: dict[int, dict[str, Tensor]] = {}
    for name, tensor in flat.items():
        number, _, key = name.partition(".")
        if not (number.isascii() and number.isdigit()):
            raise DamagedFile(f"calibration batches are called NUMBER.INPUT, not {name!r}; {_WAY_OUT}")
        grouped.setdefault(int(number), {})[key] = tensor
    found: list[Any] = []
    for _, parts in sorted(grouped.items()):
        positional = all(key.isascii() and key.isdigit() for key in parts)
        inputs = tuple(parts[k] for k in sorted(parts, key=int)) if positional else parts
        found.append((inputs, None))  # as a pair of inputs and targets, of which only the inputs are read
    return found
