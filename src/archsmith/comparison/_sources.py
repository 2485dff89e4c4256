"""A digest of a strategy's code, so that a record says which code made it."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from archsmith.method import ROOT, load, names

CODE_FOLDERS = ("strategy", "predictor", "encoding", "pareto", "space", "graph")
"""Folders whose files count as a strategy's code where it imports them."""
LOADED_ROLES = ("predictor", "encoding")
"""Roles whose methods a strategy may load by name."""


@cache
def code_digest(strategy: str, mentioned: tuple[str, ...] = ()) -> str:
    """Sixteen hexadecimal digits of a strategy's own file and all files of archsmith that it uses.

    Comments, formatting and docstrings are left out.

    Args:
        strategy: its name, or ``module:Class``.
        mentioned: names of predictors or encodings in its options.
    """
    own = importlib.util.find_spec(load("strategy", strategy).__module__)
    start = Path(own.origin) if own is not None and own.origin else ROOT / "strategy" / f"{strategy}.py"
    reached, waiting = set[Path](), [start, *_named(set(mentioned))]
    while waiting:
        file = waiting.pop()
        if file not in reached:
            reached.add(file)
            waiting += _read(file)[1]
    return hashlib.sha256("\n".join(sorted(_read(file)[0] for file in reached)).encode()).hexdigest()[:16]


@cache
def _read(file: Path) -> tuple[str, tuple[Path, ...]]:
    """The syntax tree of a file without docstrings, as text; and the files that it uses."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    used = tuple(_uses(file, tree))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            node.body = body[1:] or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.dump(tree), used


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _uses(file: Path, tree: ast.Module) -> Iterator[Path]:
    texts = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.add(node.value)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from _files([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
        elif isinstance(node, ast.Import):
            yield from _files([alias.name for alias in node.names])
    if file.is_relative_to(ROOT / "strategy"):
        yield from _named(texts)


def _files(modules: list[str]) -> Iterator[Path]:
    for module in modules:
        package, _, rest = module.partition(".")
        if package == ROOT.name and rest.partition(".")[0] in CODE_FOLDERS:
            path = ROOT / Path(*rest.split("."))
            yield from (f for f in (path.with_suffix(".py"), path / "__init__.py") if f.exists())


def _named(texts: set[str]) -> list[Path]:
    return [file for name, file in _by_name() if name in texts]


@cache
def _by_name() -> list[tuple[str, Path]]:
    files = [(name, ROOT / role / f"{name}.py") for role in LOADED_ROLES for name in names(role)]
    return [(name, file) for name, file in files if file.exists()]
