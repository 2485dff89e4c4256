"""The layout is a test: who may import whom, what is heavy, how long a file may be, what a role's folder holds.

Every check gathers all that it finds, so that one run tells everything there is to mend.
"""

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

import archsmith
from archsmith import method

ROOT = Path(archsmith.__file__).parent
TESTS = Path(__file__).parent

# Frozen values and what reads them from files: open to all, and they import each other only.
VOCABULARY = {
    *("errors", "architecture", "value", "metric", "evaluation", "plan", "method", "progress", "fingerprint"),
    *("files", "events", "changes", "forms", "npz", "origin", "quantities", "texts", "trust", "version"),
}
LOWER = {
    *("pareto", "feasibility", "graph", "space", "encoding", "predictor", "data", "models", "benchmark"),
    *("structure", "running", "discovery", "supernet", "export", "hardware", "candidates", "training"),
    *("strategy", "evaluator", "store", "engine", "loop"),
}
# room -> all other rooms that it may import; imports in functions and for type checkers count too
MAY_IMPORT = {
    "pareto": set(),
    "feasibility": {"pareto"},
    "graph": set(),
    "space": {"graph"},
    "encoding": {"space", "graph"},
    "predictor": {"encoding", "graph", "space"},
    "data": set(),
    "models": set(),
    "benchmark": {"space", "graph"},
    "structure": {"graph", "space"},
    "running": {"graph", "space", "structure"},
    "discovery": {"graph", "space", "structure", "running"},
    "supernet": {"graph", "space", "structure", "running", "discovery"},
    "export": {"graph", "structure"},
    "hardware": {"graph", "export"},
    "candidates": {"space", "graph", "structure", "running", "supernet", "export", "hardware", "benchmark"},
    "training": {
        *("candidates", "supernet", "running", "structure", "space", "graph", "data", "predictor", "encoding"),
        *("hardware", "pareto"),
    },
    "strategy": {"space", "encoding", "pareto", "predictor"},
    "evaluator": {
        *("candidates", "training", "benchmark", "data", "hardware", "export", "supernet", "predictor", "encoding"),
        *("space", "graph"),
    },
    "store": set(),
    "engine": {"evaluator"},
    "loop": {"strategy", "engine", "store", "feasibility"},
    "source": LOWER,
    "runs": LOWER | {"source"},
    "certificate": LOWER | {"source", "runs"},
    "delivery": LOWER | {"source", "runs", "certificate"},
    "orchestration": LOWER | {"source", "runs", "certificate", "delivery"},
    "report": {"pareto", "feasibility", "space", "graph", "store", "runs"},
}
MAY_IMPORT["comparison"] = MAY_IMPORT["report"] | {
    *("report", "strategy", "benchmark", "training", "evaluator", "predictor", "encoding", "candidates", "supernet"),
    *("data", "source"),
}
MAY_IMPORT["api"] = set(MAY_IMPORT)
MAY_IMPORT["cli"] = {"api", "report", "comparison", "hardware"}
MAY_IMPORT["testing"] = set(MAY_IMPORT)

# torch at the top of a module: whole rooms, or in some only the files of single methods
TORCH = {"models", "data", "structure", "running", "discovery", "supernet", "candidates", "training", "export"}
TORCH |= {"evaluator", "source", "runs", "certificate", "delivery", "orchestration", "api", "testing"}
TORCH_IN_METHODS = {"graph", "predictor", "hardware", "strategy"}
HEAVY = ("torch", "sklearn", "pandas", "plotly", "onnx", "onnxruntime", "onnxscript", "pyarrow", "scipy.stats")
HEAVY += ("pymoo", "optuna", "botorch", "gpytorch", "timm", "torchvision", "transformers", "tokenizers")
HEAVY += ("openvino", "cryptography")
LONGEST_FILE, LONGEST_FUNCTION, LONGEST_API, MOST_PUBLIC = 400, 60, 1200, 20

FILES = sorted(ROOT.rglob("*.py"))
MODULES = {".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): f for f in FILES}
MODULES["__init__"] = MODULES.pop("__init__", ROOT / "__init__.py")


def room(module):
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


@cache
def all_imports(module):
    return tuple(imported(ast.walk(tree(MODULES[module]))))


def own(names):
    """Of dotted names, the modules of ours that they reach; ``archsmith`` itself aside."""
    for name in names:
        parts = name.split(".")
        if parts[0] != "archsmith":
            continue
        found = next((m for n in range(len(parts), 1, -1) if (m := ".".join(parts[1:n])) in MODULES), None)
        if found:
            yield found


@cache
def uses(module):
    return frozenset(own(all_imports(module))) - {module}


def outside(names):
    return [n for n in names if n.split(".")[0] != "archsmith"]


def none(found):
    """Nothing was found; else all of it is told at once."""
    assert not found, "\n".join(["", *map(str, found)])


def test_imports_follow_the_table():
    """By any import: rooms, rings of files, and what is private."""
    found = []
    for module in sorted(MODULES.keys() - {"__init__"}):
        here = room(module)
        if here not in VOCABULARY | MAY_IMPORT.keys():
            found.append(f"{here} is a new room: say in MAY_IMPORT whom it may import")
        allowed = VOCABULARY | {here} | MAY_IMPORT.get(here, set())
        found += [f"{module} imports {name}" for name in uses(module) if room(name) not in allowed]
        across = (name for name in all_imports(module) if name.startswith("archsmith.") and name.split(".")[1] != here)
        private = (n for n in across if any(part.startswith("_") and part != "__version__" for part in n.split(".")))
        found += [f"{module} imports the private {name}" for name in private if here != "testing"]
        found += [
            f"{module} imports {name}, which {room(name[10:])} does not list in __all__" for name in unlisted(module)
        ]
    found += [f"{name} has {len(listed(name))} public names" for name in MAY_IMPORT if len(listed(name)) > MOST_PUBLIC]
    none(found)
    tuple(graphlib.TopologicalSorter({k: v - {k} for k, v in MAY_IMPORT.items() if k != "testing"}).static_order())
    # Importing a.b runs a/__init__ first; that a package loads its own parts is no ring.
    arrows = {m: {x for x in uses(m) if not m.startswith(f"{x}.")} for m in MODULES}
    tuple(graphlib.TopologicalSorter(arrows).static_order())


@cache
def listed(name):
    """What a room says that others may use: names, and modules of its own; the methods of its roles beside these."""
    for node in tree(MODULES[name]).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return frozenset(ast.literal_eval(node.value))
    return frozenset()


def unlisted(module):
    """Imports from other rooms of what these do not list."""
    for name in all_imports(module):
        _, there, *rest = f"{name}.".split(".")[:-1] if name.startswith("archsmith.") else ("", "")
        if there in ("", room(module)) or there not in MAY_IMPORT or MODULES.get(there, ROOT).name != "__init__.py":
            continue
        of_method = any(is_method_file(MODULES[m]) or m.endswith(".base") for m in own([name]))
        if rest and not of_method and rest[0] not in listed(there) and room(module) != "testing":
            yield name


def test_what_is_loaded_drawn_and_printed():
    """Heavy packages where they are used; NumPy's generators that are handed down; output by the command line only."""
    found = []
    modern = ("default_rng", "Generator", "SeedSequence", "BitGenerator", "PCG64", "bit_generator")
    for module, file in MODULES.items():
        names = outside(imported(at_import(tree(file))))
        heavy = {h for n in names for h in HEAVY if n == h or n.startswith(f"{h}.")}
        if (
            room(module) in TORCH
            or module.startswith("graph.readers.")
            or (room(module) in TORCH_IN_METHODS and is_method_file(file))
        ):
            heavy -= {"torch"}
        found += [f"{module} loads {name} when it is imported; import it where it is used" for name in heavy]
        if room(module) == "testing":
            continue  # the suites look at the global generators to see that nobody moves them
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "print" and room(module) != "cli":
                found.append(f"{module}:{node.lineno} prints; return or raise instead")
            drawn = isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("np.random", "numpy.random")
            if drawn and node.attr not in modern:
                found.append(f"{module}:{node.lineno} draws from NumPy's global generator")
        if any(n == "random" or n.startswith("random.") for n in outside(all_imports(module))):
            found.append(f"{module} imports random: use NumPy's default_rng")
    none(found)


@cache
def is_method_file(file):
    return any(file in method.sources(role).values() for role in method.roles())


def test_sizes_and_names():
    """Short files and functions, a thin api, and no module that is called as a public function beside it."""
    found, api = [], 0
    for module, file in MODULES.items():
        lines = len(file.read_text(encoding="utf-8").splitlines())
        api += lines * (room(module) == "api")
        if lines > LONGEST_FILE:
            found.append(f"{module} has {lines} lines: it does more than one thing")
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
                length = (node.end_lineno or 0) - body[0].lineno + 1  # signature and docstring are as long as they need
                if length > LONGEST_FUNCTION:
                    found.append(f"{module}.{node.name} has {length} lines of code")
        if room(module) == "cli":
            continue  # its functions are named after its commands
        package = module.rpartition(".")[0] if file.name != "__init__.py" else module
        inside = f"{package}." if package else ""
        near = {m.removeprefix(inside).partition(".")[0] for m in MODULES if m.startswith(inside)}
        for node in tree(file).body:
            public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
            if public and node.name in near:
                found.append(f"{module}.{node.name} is also the name of a module beside it")
    if api > LONGEST_API:
        found.append(f"api has {api} lines: it is to be thin")
    none([*found, *({room(m) for m in MODULES} & set(archsmith.__all__))])


def test_methods_and_documentation():
    """One documented method a file; everything public says what it is."""
    found = []
    for role in method.roles():
        for info in method.describe(role):
            if info.name not in method.sources(role):
                continue  # a third party's
            classes = [n for n in tree(method.sources(role)[info.name]).body if isinstance(n, ast.ClassDef)]
            methods = [c.name for c in classes if not c.name.startswith("_") and method._paper_node(c) is not None]
            if methods != [method.load(role, info.name).__name__]:
                found.append(f"{role} {info.name} holds {methods}; a file is one method")
            if not re.fullmatch(r"[A-Z`].{9,118}[.]", info.summary) or not info.paper.title:
                found.append(f"{role} {info.name}: first docstring line {info.summary!r}")
    for module in sorted(m for m in MODULES if m != "__init__" and "._" not in m):
        loaded = importlib.import_module(f"archsmith.{module}")
        for name, thing in vars(loaded).items():
            ours = getattr(thing, "__module__", "") == loaded.__name__ and callable(thing)
            if not ours or name.startswith(("_", "test_")):
                continue
            parts = vars(thing) if isinstance(thing, type) else {}
            members = [p for p in parts if not p.startswith(("_", "test_")) and inspect.isfunction(parts[p])]
            silent = [p for p in members if not inspect.getdoc(getattr(thing, p))]
            found += [f"{module}.{name}.{p} says nothing about itself" for p in silent]
            if not inspect.getdoc(thing):
                found.append(f"{module}.{name} says nothing about itself")
    none(found)


def test_every_public_module_is_tested():
    sources = [*TESTS.rglob("test_*.py"), *TESTS.rglob("conftest.py"), *(ROOT / "testing").glob("*.py")]
    everything = "\n".join(f.read_text(encoding="utf-8") for f in sources if f != Path(__file__))
    reached = {m for m in MODULES if is_named(m, everything)}
    while more := {x for m in reached for x in uses(m) if room(x) == room(m)} - reached:
        reached |= more  # a part of what is tested
    none([m for m in MODULES if is_public_part(m) and m not in reached])


def is_public_part(module):
    stem = module.rpartition(".")[2]
    apart = (
        "testing",
        "runs",
        "orchestration",
        "api",
        "cli",
    )  # verbs are tested as users give them: see tests/test_docs.py
    outer = MODULES[module].name == "__init__.py" or stem == "base" or stem.startswith("_")
    return not outer and room(module) not in apart


def is_named(module, tests):
    """Whether tests name something public of the module, or all methods of its role."""
    stem = module.rpartition(".")[2]
    for role in method.roles():
        if MODULES[module] in method.sources(role).values() and (f'names("{role}")' in tests or f'"{stem}"' in tests):
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
    loaded = run("import sys, archsmith; print(*sorted({m.partition('.')[0] for m in sys.modules}))").split()
    none(set(loaded) & {*HEAVY, "numpy", "sqlalchemy", "rich"})
