"""Which modules a change touches: those that were changed, and all that import them by any chain."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path


def changed_files(root: Path, base: str = "") -> set[str]:
    """Paths below ``root`` that differ from a commit, in the work tree too, new files included.

    Args:
        root: of the repository.
        base: the commit; where the branch left main unless it is given, or the commit before on main itself.
    """

    def git(*arguments: str) -> list[str]:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
        return done.stdout.split()

    if not base:
        [head], [left] = git("rev-parse", "HEAD"), git("merge-base", "HEAD", "main")
        base = "HEAD~1" if head == left else left
    return {*git("diff", "--name-only", base), *git("ls-files", "--others", "--exclude-standard")}


def imports(source: Path, package: str = "archsmith") -> dict[str, set[str]]:
    """Of each module below ``source/package`` the modules of the package that it imports, wherever in its text."""
    files = {_module(f.relative_to(source)): f for f in (source / package).rglob("*.py")}
    found = {}
    for module, file in files.items():
        names: set[str] = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        # a package runs before what is in it; the first of all holds names that are found when they are asked for
        names |= {name.rpartition(".")[0] for name in names if name.count(".") > 1}
        found[module] = names & files.keys() - {module}
    return found


def touched(changed: Iterable[str], graph: Mapping[str, set[str]]) -> set[str]:
    """The modules of ``graph`` that lie in changed files of ``src``, or import one of those by any chain."""
    reached = {_module(Path(path).relative_to("src")) for path in changed if path.startswith("src/")} & graph.keys()
    while more := {module for module, wanted in graph.items() if wanted & reached} - reached:
        reached |= more
    return reached


def _module(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")
