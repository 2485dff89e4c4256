"""The layout is a test: who may import whom, what is heavy, how long a file may be, what a role's folder holds."""

import ast
import graphlib
import importlib
import inspect
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import archsmith
from archsmith import method

ROOT = Path(archsmith.__file__).parent
TESTS = Path(__file__).parent

VOCABULARY = {"errors", "architecture", "metric", "evaluation", "plan", "method", "events", "changes"}
VOCABULARY |= {"files", "forms", "npz", "origin", "trust"}

# place -> the other places it may import; the vocabulary is open to all
MAY_IMPORT = {
    "pareto": set(),
    "graph": set(),
    "space": {"graph"},
    "encoding": {"space", "graph"},
    "benchmark": {"space"},
    "models": set(),
    "data": set(),
    "supernet": {"graph", "space"},
    "predictor": {"encoding", "graph"},
    "training": {"supernet", "space", "graph", "predictor", "encoding"},
    "compress": {"graph", "supernet"},
    "export": {"graph"},
    "hardware": {"graph", "export"},
    "differentiable": {"supernet", "space", "training", "hardware"},
    "proxy": {"graph"},
    "strategy": {"space", "encoding", "pareto", "predictor"},
    "evaluator": {
        *("pareto", "graph", "space", "encoding", "benchmark", "models", "data", "supernet", "predictor"),
        *("training", "compress", "export", "hardware", "proxy"),
    },
    "store": set(),
    "engine": {"evaluator"},
    "replay": {"strategy", "store"},
    "loop": {"strategy", "evaluator", "engine", "store", "replay"},
    "retrieval": {"graph", "encoding", "store"},
    "certificate": {"supernet", "export", "hardware", "evaluator"},
    "report": {"pareto", "space", "store"},
    "comparison": {"benchmark", "strategy", "pareto", "space", "encoding", "predictor", "report"},
}
EVERYTHING = VOCABULARY | set(MAY_IMPORT)
MAY_IMPORT["api"] = set(MAY_IMPORT)
MAY_IMPORT["cli"] = {"api", "loop", "report", "hardware", "comparison"}
MAY_IMPORT["testing"] = EVERYTHING | {"api", "cli"}

# torch at the top of a module: whole folders, or in some only the files of single methods
TORCH = {"models", "data", "supernet", "training", "compress", "export", "differentiable", "proxy", "evaluator"}
TORCH |= {"certificate", "api", "testing"}
TORCH_IN_METHODS = {"graph", "predictor", "hardware", "strategy", "retrieval"}
HEAVY = ("torch", "sklearn", "pandas", "plotly", "onnx", "onnxruntime", "onnxscript", "pyarrow", "scipy.stats")
HEAVY += (
    "pymoo",
    "optuna",
    "botorch",
    "gpytorch",
    "timm",
    "torchvision",
    "transformers",
    "tokenizers",
    "openvino",
    "cryptography",
)

FILES = sorted(ROOT.rglob("*.py"))
MODULES = {".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): f for f in FILES}
MODULES["__init__"] = MODULES.pop("__init__", ROOT / "__init__.py")


def place(module):
    return module.partition(".")[0]


@cache
def tree(file):
    return ast.parse(file.read_text(encoding="utf-8"))


def at_import(node):
    """The statements that run when a module is imported: not those in functions or under TYPE_CHECKING."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from at_import(child)


def imported(nodes):
    """Full dotted names that the import statements among ``nodes`` bind or load."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import on line {node.lineno}: write it in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(names):
    """Of dotted names, the modules of ours that they reach; ``archsmith`` itself aside."""
    for name in names:
        parts = name.split(".")
        if parts[0] != "archsmith":
            continue
        found = next((m for n in range(len(parts), 1, -1) if (m := ".".join(parts[1:n])) in MODULES), None)
        if found:
            yield found


def outside(names):
    return [n for n in names if n.split(".")[0] != "archsmith"]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_follow_the_table(module):
    here = place(module)
    if here == "__init__":
        return
    assert here in EVERYTHING | set(MAY_IMPORT), f"{here} is a new place: say in MAY_IMPORT whom it may import"
    allowed = VOCABULARY | {here} | MAY_IMPORT.get(here, set())
    for name in own(imported(ast.walk(tree(MODULES[module])))):
        assert place(name) in allowed, f"{module} imports archsmith.{name}; {here} may import {sorted(allowed)}"


def test_the_table_has_no_ring():
    tuple(graphlib.TopologicalSorter({k: v - {k} for k, v in MAY_IMPORT.items()}).static_order())


def test_no_ring_of_modules():
    # Importing a.b runs a/__init__ first; that a package loads its own parts is no ring.
    arrows = {
        m: {x for x in own(imported(at_import(tree(f)))) if x != m and not m.startswith(f"{x}.")}
        for m, f in MODULES.items()
    }
    tuple(graphlib.TopologicalSorter(arrows).static_order())


@pytest.mark.parametrize("module", sorted(MODULES))
def test_heavy_packages_are_imported_where_they_are_used(module):
    names = outside(imported(at_import(tree(MODULES[module]))))
    heavy = {h for n in names for h in HEAVY if n == h or n.startswith(f"{h}.")}
    stem = module.rpartition(".")[2]
    if place(module) in TORCH or (place(module) in TORCH_IN_METHODS and is_method_file(module, stem)):
        heavy -= {"torch"}
    assert not heavy, f"{module} loads {sorted(heavy)} when it is imported; import inside the function that needs it"


def is_method_file(module, stem):
    role = module.rpartition(".")[0]
    return role in method.roles() and stem != "base" and not stem.startswith("_")


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_global_generators_and_no_prints(module):
    if place(module) == "testing":
        return  # the suites look at the global generators to see that nobody moves them
    for node in ast.walk(tree(MODULES[module])):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
            assert place(module) == "cli", f"{module}:{node.lineno} prints; return or raise instead"
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("np.random", "numpy.random"):
            modern = ("default_rng", "Generator", "SeedSequence", "BitGenerator", "PCG64", "bit_generator")
            assert node.attr in modern, f"{module}:{node.lineno} draws from numpy's global generator"
    names = set(outside(imported(ast.walk(tree(MODULES[module])))))
    assert not any(n == "random" or n.startswith("random.") for n in names), f"{module}: use numpy's default_rng"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_files_stay_short(module):
    lines = len(MODULES[module].read_text(encoding="utf-8").splitlines())
    assert lines <= 450, f"{module} has {lines} lines: it does more than one thing"
    for node in ast.walk(tree(MODULES[module])):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            length = (node.end_lineno or 0) - body[0].lineno + 1  # signature and docstring may be as long as they need
            assert length <= 60, f"{module}.{node.name} has {length} lines of code"


def test_no_module_shares_its_name_with_a_public_function():
    # The command line is apart: its functions are named after its commands.
    for module, file in MODULES.items():
        if place(module) == "cli":
            continue
        package = module.rpartition(".")[0] if file.name != "__init__.py" else module
        inside = f"{package}." if package else ""
        near = {m.removeprefix(inside).partition(".")[0] for m in MODULES if m.startswith(inside)}
        for node in tree(file).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert node.name not in near, f"{module}.{node.name} is also the name of a module beside it"
    assert not {place(m) for m in MODULES} & set(archsmith.__all__)


@pytest.mark.parametrize("role", sorted(method.roles()))
def test_a_role_holds_one_documented_method_a_file(role):
    for info in method.describe(role):
        file = ROOT / Path(*role.split(".")) / f"{info.name}.py"
        if not file.exists():
            continue  # a third party's
        classes = [n for n in tree(file).body if isinstance(n, ast.ClassDef) and not n.name.startswith("_")]
        methods = [c for c in classes if method._paper_node(c) is not None]
        assert len(methods) == 1, f"{file.name} holds {[c.name for c in methods]}; a file is one method"
        assert re.fullmatch(r"[A-Z`].{9,118}[.]", info.summary), (
            f"{role} {info.name}: first docstring line {info.summary!r}"
        )
        assert info.paper.title
        assert method.load(role, info.name).__name__ == methods[0].name


@pytest.mark.parametrize("module", sorted(m for m in MODULES if m != "__init__" and "._" not in m))
def test_everything_public_is_documented(module):
    loaded = importlib.import_module(f"archsmith.{module}")
    for name, thing in vars(loaded).items():
        if (
            name.startswith(("_", "test_"))
            or getattr(thing, "__module__", "") != loaded.__name__
            or not callable(thing)
        ):
            continue
        assert inspect.getdoc(thing), f"{module}.{name} says nothing about itself"
        for part, member in vars(thing).items() if isinstance(thing, type) else ():
            if not part.startswith(("_", "test_")) and inspect.isfunction(member):
                assert inspect.getdoc(getattr(thing, part)), f"{module}.{name}.{part} says nothing about itself"


def test_every_public_module_is_tested():
    sources = [*TESTS.rglob("test_*.py"), *TESTS.rglob("conftest.py"), *(ROOT / "testing").glob("*.py")]
    everything = "\n".join(f.read_text(encoding="utf-8") for f in sources if f != Path(__file__))
    reached = {m for m in MODULES if is_named(m, everything)}
    while more := {x for m in reached for x in uses(m) if place(x) == place(m)} - reached:
        reached |= more  # a part of what is tested
    missed = [m for m, f in MODULES.items() if is_public_part(m, f) and m not in reached]
    assert not missed, f"no test and no conformance suite reaches {missed}"


def is_public_part(module, file):
    stem = module.rpartition(".")[2]
    apart = ("testing", "api", "cli")  # the verbs are tested as a user gives them: see tests/test_docs.py
    return file.name != "__init__.py" and stem != "base" and not stem.startswith("_") and place(module) not in apart


def uses(module):
    return set(own(imported(ast.walk(tree(MODULES[module])))))


def is_named(module, tests):
    """Whether tests name something public of the module, or all methods of its role."""
    parent, _, stem = module.rpartition(".")
    if parent in method.roles() and (f'names("{parent}")' in tests or f'"{stem}"' in tests):
        return True
    defined = {n.name for n in tree(MODULES[module]).body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    public = "|".join(n for n in defined if not n.startswith("_"))
    if ">>>" in MODULES[module].read_text(encoding="utf-8"):
        return True  # its examples are run
    return f"archsmith.{module}" in tests or bool(public and re.search(rf"\b({public})\b", tests))


def run(code):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    return out.stdout.strip()


def test_importing_archsmith_loads_nothing_heavy():
    code = f"import sys, archsmith; print([m for m in {HEAVY} if m in sys.modules])"
    assert run(code) == "[]"


def test_importing_archsmith_takes_less_than_three_tenths_of_a_second():
    # CPU time, and the least of a few runs: other programs on the machine do not count.
    code = "import time; t = time.process_time(); import archsmith; print(time.process_time() - t)"
    assert min(float(run(code)) for _ in range(3)) < 0.3
