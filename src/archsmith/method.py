"""Methods and their registry: the files of a folder are the list.

A *role* is a folder whose ``__init__.py`` holds ``ROLE = "..."``, the sentence that says what its methods do.
Every public module in it, other than ``base``, holds exactly one public class with a ``paper``: the method,
whose name is the file's name. Sub-folders are families: their methods belong to the role under the same flat names.
A sub-folder whose ``__init__.py`` begins with a comment holds parts of methods and no methods. Listing reads sources
and imports nothing, so that it works with no extra installed. Other packages add methods through the entry-point
group ``archsmith.<role>``.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import traceback
from abc import ABC
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, ClassVar, TypeVar, Union, get_args, get_origin, get_type_hints

from archsmith import trust
from archsmith.errors import ArchsmithError, InvalidOption, UnknownName, UserError, unknown

ROOT = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Paper:
    """Where an idea was published.

    Args:
        authors: family names joined by ``" and "``, as BibTeX wants them.
        title: as printed.
        year: of the version that we follow.
        venue: conference or journal, where there is one.
        arxiv: identifier such as ``"1908.09791"``.
        doi: where there is one.
        url: for what has neither.
    """

    authors: str
    title: str
    year: int
    venue: str = ""
    arxiv: str = ""
    doi: str = ""
    url: str = ""

    @property
    def label(self) -> str:
        """Such as ``Cai et al. 2020``."""
        names = [a.strip().split(",")[0] for a in self.authors.split(" and ")]
        who = names[0] if len(names) == 1 else " and ".join(names) if len(names) == 2 else f"{names[0]} et al."
        return f"{who} {self.year}"

    def bibtex(self, key: str) -> str:
        """An entry for a bibliography, under ``key``."""
        kind = "article" if self.venue or self.arxiv else "misc"
        fields = {"author": self.authors, "title": f"{{{self.title}}}", "year": str(self.year), "journal": self.venue}
        if self.arxiv and not self.venue:
            fields["journal"] = f"arXiv:{self.arxiv}"
        fields |= {"eprint": self.arxiv, "doi": self.doi, "url": self.url}
        body = ",\n".join(f"  {name} = {{{text}}}" for name, text in fields.items() if text)
        return f"@{kind}{{{key},\n{body}\n}}"


OURS = Paper(authors="The archsmith developers", title="archsmith", year=2026)
"""For ideas that are archsmith's own or common knowledge."""


class Method(ABC):
    """Anything that lives in a file of its own in a role's folder."""

    paper: ClassVar[Paper]


@dataclass(frozen=True)
class MethodInfo:
    """One line of ``archsmith methods``."""

    role: str
    name: str
    summary: str
    paper: Paper


M = TypeVar("M", bound=Method)

FORMER_ROLES = {"supernet.rules": "structure.rules", "supernet.operators": "discovery.operators"}
"""Names that roles had before 0.2: commands and entry points of other packages may still use them."""


@cache
def roles() -> Mapping[str, str]:
    """Role (dotted path below the package) -> what its methods do, in alphabetical order."""
    found = {}
    for init in sorted(ROOT.rglob("__init__.py")):
        for node in ast.parse(init.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "ROLE":
                found[".".join(init.parent.relative_to(ROOT).parts)] = str(ast.literal_eval(node.value))
    return found


def names(role: str) -> list[str]:
    """Names of the methods of one role, our own and installed third parties'.

    Raises:
        UnknownName: when there is no such role.
    """
    role = FORMER_ROLES.get(role, role)
    if role not in roles():
        raise unknown("role", role, roles())
    return sorted({*sources(role), *_third_parties(role)})


def _third_parties(role: str) -> dict[str, EntryPoint]:
    """Name -> entry point of the methods that other packages bring, also under what the role was once called."""
    groups = [role, *(former for former, now in FORMER_ROLES.items() if now == role)]
    return {entry.name: entry for group in groups for entry in entry_points(group=f"archsmith.{group}")}


@cache
def sources(role: str) -> Mapping[str, Path]:
    """Name -> file of archsmith's own methods of a role, those of its families among them."""
    folder = ROOT / Path(*role.split("."))
    inside = [folder, *(init.parent for init in sorted(folder.glob("*/__init__.py")) if _is_family(init))]
    return {f.stem: f for part in inside for f in sorted(part.glob("*.py")) if _is_public(f.stem)}


def load(role: str, name: str) -> type[Any]:
    """The method class ``name`` of a role; ``module:Class`` names a class of the user's own.

    Raises:
        UnknownName: with the nearest name.
        MissingExtra: when the method needs a package that is not installed.
    """
    if ":" in name:
        own = import_object(name, what=f"{role} class", fits=_is_own_method)
        if not (isinstance(own, type) and issubclass(own, Method)):
            kind = role.rpartition(".")[2].removesuffix("s")
            raise InvalidOption(f"{name!r} is no {kind}: name a class derived from archsmith's base class for it")
        return own
    role = FORMER_ROLES.get(role, role)
    if name not in names(role):
        raise unknown(role.rpartition(".")[2].removesuffix("s"), name, names(role))
    if name in sources(role):
        path = sources(role)[name].relative_to(ROOT).with_suffix("")
        module = importlib.import_module(".".join([ROOT.name, *path.parts]))
        found: type[Any] = next(c for c in vars(module).values() if _is_method_of(c, module.__name__))
        return found
    entry = _third_parties(role)[name]
    try:
        return entry.load()  # type: ignore[no-any-return]
    except Exception as error:
        package = f" of {entry.dist.name}" if entry.dist else ""
        raise UserError(
            f"the {role} {name!r}{package} cannot be loaded: {type(error).__name__}: {error}{_moved(error)}; mend that "
            "package, or uninstall it"
        ) from error


def import_object(path: str, *, what: str, fits: Callable[[Any], bool] = callable) -> Any:
    """The object that ``module:name`` stands for; names may be dotted, and the module may lie in the current folder.

    Args:
        path: such as ``"mypackage.models:build"``.
        what: what it should be, for messages.
        fits: whether the message for a missing name may suggest an object of the module.

    Raises:
        UnknownName: when there is no such module or name, with the nearest name.
        Untrusted: when somebody else's file names it.
        UserError: when the module itself fails while it is imported.
    """
    trust.refuse(f"import {path}")
    module_name, _, attribute = path.partition(":")
    try:
        with importable_here():
            found: Any = importlib.import_module(module_name)
    except ArchsmithError:
        raise
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
            raise UnknownName(
                f"cannot find the module of the {what} {path!r}: {error}; looked for it in "
                f"{', '.join([*map(str, trust.import_folders()), 'the installed packages'])}; name its folder in "
                "PYTHONPATH"
            ) from error
        raise UserError(
            f"importing the {what} {path!r} fails with {type(error).__name__}: {error}{_moved(error)}"
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = {name: thing for name, thing in vars(found).items() if not name.startswith("_")}
            raise unknown(f"{what} in {module_name!r}", part, [name for name in public if fits(public[name])])
        found = getattr(found, part)
    return found


def _moved(error: Exception) -> str:
    """Where to look for a module of archsmith's that is not there any more."""
    name = error.name or "" if isinstance(error, ImportError) else ""
    return "; its modules moved in 0.2: docs/upgrading.md says where" if f"{name}.".startswith(f"{ROOT.name}.") else ""


@contextmanager
def importable_here() -> Iterator[None]:
    """Make the user's own modules importable in this block: those of the current folder, as with ``python -m``.

    Where a file made here names a module, those of the folder that the file records.
    """
    folders = [str(folder) for folder in trust.import_folders()]
    sys.path[:0] = folders
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for folder in folders:
            sys.path.remove(folder)


def make(role: str, spec: str | Method, *args: Any, **options: Any) -> Any:
    """A method of ``role``: an instance is returned as it is, a name is loaded and built with ``options``.

    Raises:
        InvalidOption: for an option that the method does not have, or a value of another type.
        UserError: when a method of the user's own fails while it is built.
    """
    if isinstance(spec, Method):
        return spec
    method = load(role, spec)
    check_options(method, {name: value for name, value in options.items() if name != "rng"})
    with blaming(method):
        return method(*args, **options)


@contextmanager
def blaming(method: type[Any]) -> Iterator[None]:
    """Turn what the user's own ``method`` raises in this block into an error that names it and the line.

    Errors of archsmith's own methods pass unchanged: they are bugs of archsmith.

    Raises:
        UserError: from what was raised.
    """
    try:
        yield
    except ArchsmithError:
        raise
    except Exception as error:
        if method.__module__.partition(".")[0] == ROOT.name:
            raise
        frames = traceback.extract_tb(error.__traceback__)
        own = [f for f in frames if f.filename == getattr(sys.modules.get(method.__module__), "__file__", None)]
        place = (own or frames)[-1]  # the line of theirs, also where a library raises
        raise UserError(
            f"{method.__module__}:{method.__qualname__} fails with {type(error).__name__}: {error} "
            f"({Path(place.filename).name}, line {place.lineno}); mend it and give the same command again"
        ) from error


def option_names(method: type[Any]) -> list[str]:
    """The keyword-only parameters of a method: its options; the random generator is no option."""
    parameters = inspect.signature(method).parameters.values()
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "rng"]


def check_options(method: type[Any], options: Mapping[str, Any]) -> None:
    """Refuse options that a method does not have, and values of another type than the annotation.

    Raises:
        InvalidOption: naming the method's options, or the types that are allowed.
    """
    known = option_names(method)
    if wrong := sorted(options.keys() - set(known)):
        raise InvalidOption(
            f"{method.__qualname__} has no option {', '.join(wrong)}; it has: {', '.join(known) or 'none'}"
        )
    for name, value in options.items():
        kinds = _kinds(method, name)
        if kinds and not any(_is_a(kind, value) for kind in kinds):
            allowed = " or ".join(CHECKED_TYPES[kind] for kind in kinds)
            raise InvalidOption(f"{method.__qualname__}: the option {name} must be {allowed}, got {value!r}")


CHECKED_TYPES: Mapping[type[Any], str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    NoneType: "left out",
}
"""Types of options that are checked -> the type in words."""


def _kinds(method: type[Any], option: str) -> tuple[type[Any], ...]:
    """The types that an option is annotated with; none where one of them is not checked."""
    annotation = inspect.signature(method).parameters[option].annotation
    if annotation is inspect.Parameter.empty:
        return ()
    try:
        names = vars(sys.modules[method.__init__.__module__])
        found = get_type_hints(SimpleNamespace(__annotations__={option: annotation}), names)[option]
    except Exception:  # noqa: BLE001 - an annotation may name what is imported for type checkers only
        return ()
    kinds = get_args(found) if get_origin(found) in (Union, UnionType) else (found,)
    return kinds if all(kind in CHECKED_TYPES for kind in kinds) else ()


def _is_a(kind: type[Any], value: object) -> bool:
    """Whether ``value`` is a ``kind``, as type checkers see it; but ``True`` is no number, and NumPy's numbers are."""
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    return isinstance(value, Integral if kind is int else Real if kind is float else kind)


def describe(role: str) -> list[MethodInfo]:
    """Name, summary and paper of each method of a role, read from the sources."""
    found, role = [], FORMER_ROLES.get(role, role)
    for name in names(role):
        if name in sources(role):
            tree = ast.parse(sources(role)[name].read_text(encoding="utf-8"))
            node = next(n for n in tree.body if isinstance(n, ast.ClassDef) and _paper_node(n) is not None)
            summary = (ast.get_docstring(node) or ast.get_docstring(tree) or "").partition("\n")[0]
            found.append(MethodInfo(role, name, summary, _read_paper(node)))
        else:
            method = load(role, name)
            found.append(MethodInfo(role, name, (inspect.getdoc(method) or "").partition("\n")[0], method.paper))
    return found


def _is_family(init: Path) -> bool:
    """Whether a sub-folder holds methods of the role above it: not parts, and not a role of its own."""
    text = init.read_text(encoding="utf-8")
    return not text.startswith("#") and "\nROLE = " not in text


def _is_public(stem: str) -> bool:
    return stem != "base" and not stem.startswith("_")


def _is_own_method(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, Method) and not inspect.isabstract(thing)


def _is_method_of(thing: object, module: str) -> bool:
    return isinstance(thing, type) and issubclass(thing, Method) and thing.__module__ == module


def _paper_node(node: ast.ClassDef) -> ast.expr | None:
    for item in node.body:
        target = item.targets[0] if isinstance(item, ast.Assign) else getattr(item, "target", None)
        if isinstance(item, ast.Assign | ast.AnnAssign) and getattr(target, "id", "") == "paper":
            return item.value
    return None


def _read_paper(node: ast.ClassDef) -> Paper:
    value = _paper_node(node)
    if isinstance(value, ast.Call):
        return Paper(**{k.arg: ast.literal_eval(k.value) for k in value.keywords if k.arg})
    return OURS
