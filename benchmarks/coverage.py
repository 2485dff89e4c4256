"""Which models become supernets, how much of them is elastic, and what that takes.

    python benchmarks/coverage.py [--only 'timm/*'] [--again] [--limit 300] [--lines runs/coverage.jsonl]
    python benchmarks/coverage.py --families          # choose timm's smallest models anew

Every model is converted in a process of its own, which ends after ``--limit`` seconds of CPU time; what is in the file
of lines is not measured again, so that the same command goes on after an interruption. The figures are written to
``benchmarks/coverage.json``, from which ``make docs`` writes the page.

Of models with real weights, conversion itself checks the coupling law in double precision; afterwards the smallest,
two random and the largest architecture are extracted and compared with the active subnet, and the largest with the
original model, all relative to the largest output. Models of many parameters and pixels (``--real-up-to``) are
converted without memory: shapes only.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib.metadata
import json
import multiprocessing
import platform
import resource
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from coverage_models import Entry, catalogue, smallest_of, timm_families  # noqa: E402

import archsmith as smith  # noqa: E402
from archsmith.supernet import Supernet  # noqa: E402
from archsmith.testing.supernets import outputs_of  # noqa: E402

RESULTS = HERE / "coverage.json"
SETTINGS = {"width": [0.5, 0.75, 1.0], "depth": 0.5, "kernel": 3, "multiple": 8, "batch": 2}
RANDOM = 2
TOLERANCE = 1e-5


def measured(entry: Entry, real_up_to: float) -> dict[str, Any]:
    """One line of results."""
    torch.manual_seed(0)
    model, inputs = _without_memory(entry)
    count = sum(p.numel() for p in model.parameters())
    pixels = inputs.shape[-1] * inputs.shape[-2] if isinstance(inputs, Tensor) and inputs.ndim == 4 else 1
    real = count * pixels <= real_up_to
    if real:
        model, inputs = entry.make()
    model.eval()
    line: dict[str, Any] = {"name": entry.name, "source": entry.source, "note": entry.note, "parameters": count}
    line["weights"] = "real" if real else "none"
    start = time.process_time()
    try:
        supernet = smith.elastic(model, inputs, multiple=SETTINGS["multiple"], importance="l1" if real else None)
    except Exception as error:  # noqa: BLE001 - the reason is the result
        line["reason"] = f"{type(error).__name__}: {error}"[:600]
        line["cpu_s"] = round(time.process_time() - start, 2)
        return line
    line["cpu_s"] = round(time.process_time() - start, 2)
    account = supernet.account()
    line["share"] = account.elastic_parameters / max(account.parameters, 1)
    line["choices"], line["architectures"] = len(account.choices), account.size
    line["rigid"] = _rigid(account.rigid)
    if real:
        line["gaps"] = gaps(supernet.eval(), model, inputs)
        line["equal"] = all(g <= TOLERANCE for g in line["gaps"].values())
    return line


def _without_memory(entry: Entry) -> tuple[nn.Module, Any]:
    """The model and its inputs on the meta device; some models compute with values while they are built."""
    try:
        with torch.device("meta"):
            return entry.make()
    except NotImplementedError:
        model, inputs = entry.make()
        return model.to("meta"), tree_map(lambda x: x.to("meta") if isinstance(x, Tensor) else x, inputs)


def _rigid(rigid: Any) -> list[tuple[str, int]]:
    """The reasons of most of what stayed rigid, with their parameters."""
    found: Counter[str] = Counter()
    for _, count, reason in rigid:
        found[reason.split(";")[0][:160]] += count
    return found.most_common(4)


def gaps(supernet: Supernet, model: nn.Module, inputs: Any) -> dict[str, float]:
    """Differences of outputs relative to the largest output; images come one at a time."""
    if isinstance(inputs, Tensor) and inputs.ndim == 4:
        inputs = inputs[:1]
    rng = np.random.default_rng(0)
    drawn = {f"random {i + 1}": supernet.random(rng) for i in range(RANDOM)}
    found = {}
    with torch.no_grad():
        for name, arch in {"smallest": supernet.smallest, **drawn, "largest": supernet.largest}.items():
            network = supernet.extract(arch).eval()
            found[name] = _gap(_called(network, inputs), _called(supernet, inputs, arch=arch))
        found["original"] = _gap(_called(supernet, inputs), _called(model, inputs))
    return found


def _called(model: nn.Module, inputs: Any, **more: Any) -> Tensor:
    torch.manual_seed(0)
    given = tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, inputs)
    if isinstance(given, dict):
        return outputs_of(model(**given, **more))
    return outputs_of(model(*(given if isinstance(given, tuple) else (given,)), **more))


def _gap(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        return float("inf")
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-30))


# Running --------------------------------------------------------------------------------------------------------


def apart(entry: Entry, limit: int, real_up_to: float) -> dict[str, Any]:
    """The line of one model, measured in a process of its own."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=_child, args=(entry, limit, real_up_to, theirs))
    process.start()
    theirs.close()
    try:
        line: dict[str, Any] = ours.recv()
    except EOFError:
        line = {"name": entry.name, "source": entry.source, "note": entry.note}
        line["reason"] = f"not finished after {limit} CPU seconds, or out of memory"
    process.join()
    return line


def _child(entry: Entry, limit: int, real_up_to: float, pipe: Any) -> None:
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CPU, (limit + int(time.process_time()), limit + int(time.process_time()) + 5))
    try:
        line = measured(entry, real_up_to)
    except Exception as error:  # noqa: BLE001 - one bad model does not stop the others
        line = {"name": entry.name, "source": entry.source, "note": entry.note}
        line["reason"] = f"{type(error).__name__}: {error}"[:600]
    pipe.send(line)
    pipe.close()


def read(file: Path) -> dict[str, dict[str, Any]]:
    """Name -> its last line."""
    lines = file.read_text().splitlines() if file.exists() else []
    return {line["name"]: line for line in map(json.loads, lines)}


def run(entries: list[Entry], file: Path, limit: int, real_up_to: float) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    for i, entry in enumerate(entries):
        line = apart(entry, limit, real_up_to)
        with file.open("a") as out:
            out.write(json.dumps(line) + "\n")
        left = (time.monotonic() - start) / (i + 1) * (len(entries) - i - 1)
        share = f"{100 * line['share']:5.1f} %" if "share" in line else line["reason"][:90]
        print(
            f"{i + 1}/{len(entries)}  {entry.name}: {share}, {line.get('cpu_s', '-')} s; {left / 60:.0f} min left",
            flush=True,
        )


def results(
    lines: dict[str, dict[str, Any]], entries: list[Entry], families: dict[str, str], previous: Any
) -> dict[str, Any]:
    packages = ("torch", "timm", "torchvision", "transformers", "torch_geometric", "numpy")
    return {
        "settings": SETTINGS,
        "versions": {"python": platform.python_version(), **{p: importlib.metadata.version(p) for p in packages}},
        "families": families,
        "models": [lines[e.name] for e in entries if e.name in lines],
        "torch_pruning": previous.get("torch_pruning", []),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", help="pattern of names")
    parser.add_argument("--again", action="store_true", help="measure also what is in the file of lines")
    parser.add_argument("--limit", type=int, default=300, help="CPU seconds a model may take")
    parser.add_argument("--lines", type=Path, default=Path("runs/coverage.jsonl"))
    parser.add_argument("--real-up-to", type=float, default=4e11, help="parameters times pixels of models with weights")
    parser.add_argument("--families", action="store_true", help="choose timm's smallest models anew, and stop")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    previous = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if given.families or "families" not in previous:
        chosen = {family: smallest_of(names) for family, names in timm_families().items()}
        previous["families"] = {family: name for family, name in chosen.items() if name is not None}
        RESULTS.write_text(json.dumps(previous, indent=1) + "\n")
    entries = catalogue(previous["families"])
    known = {} if given.again else read(given.lines)
    first = {"timm": 0, "others": 1, "transformers": 2, "torchvision": 3}
    wanted = [
        e
        for e in sorted(entries, key=lambda e: first[e.source])
        if fnmatch.fnmatchcase(e.name, given.only) and e.name not in known
    ]
    run(wanted, given.lines, given.limit, given.real_up_to)
    found = results(read(given.lines), entries, previous["families"], previous)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
