"""Sizes that are plain numbers in a model's code become attributes, so that a plan can set them.

``x.view(b, 8, 64)`` does not show where 8 and 64 come from, and no attribute of the module changes when there are fewer
heads. Such a module is replaced by a ``torch.fx.GraphModule``: its ``forward`` is recorded once, with its children as
they are, and every size that is given to a function is read from an attribute of that module: ``number_0``,
``number_1`` ... where it was a plain number, ``size_2`` ... where an attribute gave it. What follows is as for any
other module. The keys of ``state_dict`` stay.
"""

from __future__ import annotations

import copy
import inspect
import operator
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import fx, nn

from archsmith.discovery.marks import Marked
from archsmith.graph.readers.kit.recorder import Inputs, meta_copy, on_meta

SIZED_METHODS = frozenset({"view", "reshape", "expand", "new_zeros", "new_ones", "new_empty", "split"})
SIZED_METHODS |= {"split_with_sizes", "unflatten", "view_as", "reshape_as"}
DROPOUT_MODULES: dict[str, Callable[[float, bool], nn.Module]] = {
    "dropout": nn.Dropout,
    "dropout1d": nn.Dropout1d,
    "dropout2d": nn.Dropout2d,
    "dropout3d": nn.Dropout3d,
    "alpha_dropout": nn.AlphaDropout,
}
"""Dropout functions, and the module that does the same but follows its own training mode."""
NUMBER_PREFIX = "number"
"""First part of the names of attributes that were plain numbers."""
_DROPOUT_ARGS = ("input", "p", "training", "inplace")
SIZED_FUNCTIONS = SIZED_METHODS | {"zeros", "ones", "empty", "layer_norm", "rms_norm", "group_norm", "channel_shuffle"}
SIZED_FUNCTIONS |= {"floordiv"}
SIZED_FUNCTIONS |= {f"conv{transposed}{n}d" for transposed in ("", "_transpose") for n in (1, 2, 3)}
"""Functions that take sizes, or divide by one."""


def lift(graph: fx.Graph, names: Sequence[str] = ()) -> dict[str, int]:
    """Read every size in a graph from an attribute instead.

    Args:
        graph: changed in place.
        names: of the attributes, in order; made up if ``None``.

    Returns:
        The attributes with their values, in the order of the graph.
    """
    found: dict[str, int] = {}

    def lifted(node: fx.Node, value: Any) -> Any:
        if isinstance(value, tuple | list):
            return type(value)(lifted(node, v) for v in value)
        if isinstance(value, slice):
            whole = value.start is None and value.step is None
            return slice(value.start, lifted(node, value.stop), value.step) if whole else value
        if not isinstance(value, int) or isinstance(value, bool) or value < 2:
            return value
        number = len(found)
        name = names[number] if names else f"{'size' if isinstance(value, Marked) else NUMBER_PREFIX}_{number}"
        found[name] = int(value)
        with graph.inserting_before(node):
            return graph.create_node("get_attr", name)

    for node in list(graph.nodes):
        called = node.target if node.op == "call_method" else getattr(node.target, "__name__", "")
        if (node.op == "call_method" and called in SIZED_METHODS) or (
            node.op == "call_function" and called in SIZED_FUNCTIONS
        ):
            first, *rest = node.args or (None,)
            node.args = (first, *lifted(node, rest))
            node.kwargs = {name: lifted(node, v) for name, v in node.kwargs.items()}
        elif node.target is operator.getitem and isinstance(node.args[1], slice | tuple):
            index = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
            taken = tuple(lifted(node, i) if isinstance(i, slice) else i for i in index)
            node.args = (node.args[0], taken if isinstance(node.args[1], tuple) else taken[0])
    return found


class Literals:
    """The modules of a model in whose code sizes are plain numbers, replaced by graph modules.

    Args:
        model: a copy that may be changed.
        inputs: of one call.
        keep: names of modules that must stay.

    Attributes:
        model: the same, or a graph module where the model itself was replaced.
        replaced: name of a module -> what it was.
    """

    def __init__(self, model: nn.Module, inputs: Inputs, keep: Collection[str] = ()) -> None:
        self.model = model
        self.replaced: dict[str, nn.Module] = {}
        self._places: list[tuple[nn.Module, str, nn.Module]] = []
        flags = _flags(model, inputs)
        places = Counter(id(m) for _, m in model.named_modules(remove_duplicate=False))
        for path, module in reversed(list(model.named_modules())):  # inner ones first
            own = type(module).__module__.partition(".")[0] != "torch" and not isinstance(module, fx.GraphModule)
            hooked = module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
            if own and not hooked and places[id(module)] == 1 and path in flags and path not in keep:
                graph_module = with_lifted_sizes(module, flags[path])
                if graph_module is not None:
                    self._replace(path, module, graph_module)

    def _replace(self, path: str, module: nn.Module, by: nn.Module) -> None:
        self.replaced[path] = module
        if not path:
            self.model = by
            return
        owner = self.model.get_submodule(path.rpartition(".")[0])
        self._places.append((owner, path.rpartition(".")[2], module))
        owner._modules[path.rpartition(".")[2]] = by

    def restore(self, path: str) -> None:
        """Put one original module back."""
        module = self.replaced.pop(path)
        if not path:
            self.model = module
        else:
            self.model.get_submodule(path.rpartition(".")[0])._modules[path.rpartition(".")[2]] = module

    def undo(self) -> None:
        """Put all original modules back into the given model."""
        for owner, name, module in self._places:
            owner._modules[name] = module


def _flags(model: nn.Module, inputs: Inputs) -> dict[str, dict[str, Any]]:
    """Module -> arguments of its ``forward`` that are no tensors and decide what it does: absent masks, switches.

    Modules that are called with different values of them are left out.
    """
    seen: dict[str, list[dict[str, Any]]] = {}

    def note(path: str, module: nn.Module) -> Any:
        signature = inspect.signature(module.forward)

        def hook(_: nn.Module, args: Any, kwargs: Any) -> None:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            flags = {n: v for n, v in bound.arguments.items() if isinstance(v, bool | str | None)}
            seen.setdefault(path, []).append(flags)

        return module.register_forward_pre_hook(hook, with_kwargs=True)

    for make, given in ((meta_copy, on_meta(inputs)), (copy.deepcopy, inputs)):
        seen.clear()
        double = make(model).eval()
        for path, module in double.named_modules():
            note(path, module)
        try:
            with torch.no_grad(), torch.random.fork_rng():
                double(*given[0], **given[1])
        except Exception:  # noqa: BLE001 - a model may fail without values in any way
            continue
        return {path: flags[0] for path, flags in seen.items() if all(f == flags[0] for f in flags)}
    return {}


def with_lifted_sizes(module: nn.Module, flags: Mapping[str, Any] = MappingProxyType({})) -> fx.GraphModule | None:
    """A graph module that computes what ``module`` does, with sizes as attributes; ``None`` where none can or need be.

    Everything that ``forward`` depends on, except the training mode, is fixed at its present value.

    Args:
        module: stays as it is.
        flags: parameters of its ``forward`` with the values that they always have.
    """
    graphs = [_recorded(module, flags, training=training) for training in (True, False)]
    if graphs[0] is None or graphs[1] is None:
        return None
    dropout = _without_flags(graphs[0], graphs[1])
    sizes = lift(graphs[0])
    if dropout is None or not any(name.startswith(NUMBER_PREFIX) for name in sizes):
        return None
    shell = copy.copy(module)
    vars(shell).update(sizes)
    vars(shell)["_modules"] = {**module._modules, **dropout}
    built = fx.GraphModule(shell, graphs[0], class_name=type(module).__name__)
    built.training = module.training
    return built


def lifted_again(module: Any) -> None:
    """Attributes in a graph module for sizes that pickling has turned into numbers again."""
    kept = [name for name in vars(module) if re.fullmatch(rf"({NUMBER_PREFIX}|size)_\d+", name)]
    vars(module).update(lift(module.graph, sorted(kept, key=lambda name: int(name.rpartition("_")[2]))))
    module.recompile()


class _ChildrenStay(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
        return True


def _recorded(module: nn.Module, flags: Mapping[str, Any], *, training: bool) -> fx.Graph | None:
    """The graph of ``forward``, recorded on a copy of the module, since it may assign attributes.

    Integer attributes are marked, which tells them from numbers in the code.
    """
    double = copy.copy(module)
    for key, value in list(vars(double).items()):
        if isinstance(value, dict | list):
            vars(double)[key] = copy.copy(value)
        elif type(value) is int:
            vars(double)[key] = Marked.of(value, ("", key, None))
    double.training = training
    try:
        graph = _ChildrenStay().trace(double, concrete_args=dict(flags) or None)
    except Exception:  # noqa: BLE001 - code that cannot be recorded may fail in any way; it stays as it is
        return None
    graph._tracer_cls = None  # otherwise pickles would name a class of archsmith
    for node in graph.find_nodes(op="placeholder"):
        name = re.sub(r"_\d+$", "", str(node.target))
        if name in flags:  # numbered by the tracer
            node.target, node.args = name, (flags[name],)
    return graph


def _without_flags(graph: fx.Graph, other: fx.Graph) -> dict[str, nn.Module] | None:
    """Modules for the dropout of a graph that was recorded in training; ``other`` was not, and else does the same.

    Returns:
        Name -> module, which ``graph`` calls now; ``None`` where training changes anything beside dropout.
    """
    nodes, others = list(graph.nodes), list(other.nodes)
    if [(n.op, str(n.target)) for n in nodes] != [(n.op, str(n.target)) for n in others]:
        return None
    found: dict[str, nn.Module] = {}
    pairs = zip(nodes, others, strict=True)
    for node, alike in [(n, o) for n, o in pairs if repr((n.args, n.kwargs)) != repr((o.args, o.kwargs))]:
        make = DROPOUT_MODULES.get(getattr(node.target, "__name__", "")) if node.op == "call_function" else None
        given, evaluating = ({**dict(zip(_DROPOUT_ARGS, n.args, strict=False)), **n.kwargs} for n in (node, alike))
        if make is None or given.get("training") is not True or repr(given | {"training": False}) != repr(evaluating):
            return None
        name = f"dropout_{len(found)}"
        found[name] = make(given.get("p", 0.5), given.get("inplace", False))
        with graph.inserting_before(node):
            node.replace_all_uses_with(graph.create_node("call_module", name, (given["input"],)))
        graph.erase_node(node)
    return found
