"""Which models' subnets are measured as files cut out of the largest network's file, and what such a file costs.

    python benchmarks/sliced_export.py [--only 'timm/*'] [--again] [--limit 240] [--lines runs/sliced.jsonl]
    python benchmarks/sliced_export.py --evaluation       # what of an evaluation is not measuring

Every model of ``benchmarks/coverage.py`` that becomes a supernet is taken, each in a process of its own that ends after
``--limit`` seconds of CPU time; what is in the file of lines is not done again. Of each: whether it takes the path or
the reason why not; CPU time of files of random subnets, cut out and exported directly, side by side; the largest
difference of the two files' outputs in ONNX Runtime, relative to the largest output; and whether the runtime makes the
same operators of both. Batch 1. The figures are written to ``benchmarks/sliced_export.json``.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib.metadata
import json
import multiprocessing
import platform
import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from coverage import RESULTS as COVERAGE  # noqa: E402
from coverage import read  # noqa: E402
from coverage_models import Entry, catalogue  # noqa: E402

import archsmith as smith  # noqa: E402
from archsmith.errors import DamagedFile  # noqa: E402
from archsmith.export.onnx_tools.by_position import positional  # noqa: E402
from archsmith.export.onnx_tools.comparing import difference  # noqa: E402
from archsmith.export.onnx_tools.fast_exporter import candidate_onnx  # noqa: E402
from archsmith.export.onnx_tools.inputs import resized  # noqa: E402
from archsmith.export.onnx_tools.onnx_file import OnnxFile  # noqa: E402
from archsmith.export.slicing.sliced_export import Doubtful, NotSliceable, SlicedExport  # noqa: E402
from archsmith.hardware import Meter, open_device  # noqa: E402
from archsmith.supernet import Supernet  # noqa: E402

RESULTS = HERE / "sliced_export.json"
EVALUATED = ("torchvision/resnet/resnet50", "torchvision/mobilenetv2/mobilenet_v2", "transformers/minilm")
FILES = 2
"""Random subnets whose files are timed and compared."""
REPEATS = 3
"""Of every file that is cut out: the clock of CPU time ticks in steps of some milliseconds."""


def measured(entry: Entry) -> dict[str, Any]:
    """One line of results."""
    torch.manual_seed(0)
    line: dict[str, Any] = {"name": entry.name, "source": entry.source}
    supernet, inputs = supernet_of(entry)
    line["parameters"] = sum(p.numel() for p in supernet.model.parameters())
    names = supernet.input_names
    if entry.source != "others":  # graphs have no batch
        inputs = resized(inputs, 1)
    start = time.process_time()
    try:
        sliced = SlicedExport(supernet, inputs, names)
    except NotSliceable as reason:
        line["reason"] = str(reason)
        line["start_s"] = round(time.process_time() - start, 2)
        return line
    line["start_s"], line["exports"] = round(time.process_time() - start, 2), sliced.exports
    rng = np.random.default_rng(1)
    rows, tried = [], 0
    while len(rows) < FILES and tried < 10 * FILES:
        try:
            rows.append(_side_by_side(supernet, sliced, supernet.random(rng), inputs))
        except Doubtful:  # exported directly
            line["in_doubt"] = line.get("in_doubt", 0) + 1
        except DamagedFile as error:  # the runtime refuses it, and the device exports instead
            line["reason"] = f"a file that was cut out does not load, in spite of the proof: {error}"
            return line
        tried += 1
    line["tried"] = tried
    for key in ("sliced_ms", "direct_ms", "mib"):
        line[key] = round(statistics.median(row[key] for row in rows), 2)
    line["difference"] = max(row["difference"] for row in rows)
    line["same_operators"] = all(row["same_operators"] for row in rows)
    return line


def supernet_of(entry: Entry) -> tuple[Supernet, Any]:
    """With random weights, no two tensors alike; converted without memory where that works, which saves the proofs."""
    model, inputs = entry.make()
    given = inputs if isinstance(inputs, tuple | dict) else (inputs,)
    values = tuple(given.values()) if isinstance(given, dict) else given
    try:
        with torch.device("meta"):
            shapes, there = entry.make()
        supernet = smith.elastic(shapes, there)
    except Exception:  # noqa: BLE001 - models that compute with values
        return unlike(smith.elastic(model, inputs)), values
    supernet.to_empty(device="cpu")
    first: dict[int, str] = {}
    with torch.no_grad():
        for name, real in model.named_parameters(remove_duplicate=False):
            owner, _, short = name.rpartition(".")
            module = supernet.model.get_submodule(owner)
            if first.setdefault(id(real), name) == name:
                module.get_parameter(short).copy_(real)
            else:  # tied weights
                module._parameters[short] = supernet.model.get_parameter(first[id(real)])
        for name, real in model.named_buffers():
            supernet.model.get_buffer(name).copy_(real)
        for policy in supernet.policies.parameters():
            policy.copy_(torch.eye(*policy.shape) if policy.ndim == 2 else torch.ones(policy.shape))
    return unlike(supernet), values


def unlike(supernet: Supernet) -> Supernet:
    """Equal tensors, as fresh norms are, let exporter and runtime join operators that a trained network keeps apart."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in supernet.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.01 * torch.rand(tensor.shape, generator=generator))
    return supernet.eval()


def _side_by_side(supernet: Supernet, sliced: SlicedExport, arch: Any, inputs: tuple[Any, ...]) -> dict[str, Any]:
    sliced(arch)  # nodes that are made ready once
    start = time.process_time()
    for _ in range(REPEATS):
        ours = sliced(arch)
    cut = (time.process_time() - start) / REPEATS
    start = time.process_time()
    direct = candidate_onnx(positional(supernet.extract(arch), supernet.input_names), inputs)
    exported = time.process_time() - start
    return {
        "sliced_ms": 1e3 * cut,
        "direct_ms": 1e3 * exported,
        "mib": len(ours) / 2**20,
        "difference": difference(OnnxFile(direct)(*inputs), OnnxFile(ours)(*inputs)).relative,
        "same_operators": _operators(ours) == _operators(direct),
    }


def _operators(content: bytes) -> Counter[str]:
    """What ONNX Runtime runs of a file."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = f"{folder}/optimised.onnx"
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)


# What of an evaluation is not measuring ------------------------------------------------------------------------------


def evaluations() -> list[dict[str, Any]]:
    """Seconds of the parts of a latency's evaluation, medians over random subnets: wall time, with what else runs."""
    named = {e.name: e for e in catalogue(json.loads(COVERAGE.read_text())["families"])}
    found = []
    for name in EVALUATED:
        supernet, inputs = supernet_of(named[name])
        inputs = resized(inputs, 1)
        device, rng = open_device("onnxruntime:threads=1,batch=1"), np.random.default_rng(2)
        rows = []
        with Meter(device) as meter:
            sliced = SlicedExport(supernet, inputs, supernet.input_names)
            for _ in range(5):
                arch = supernet.random(rng)
                times = [time.perf_counter()]
                ours = sliced(arch)
                times.append(time.perf_counter())
                candidate_onnx(positional(supernet.extract(arch), supernet.input_names), inputs)
                times.append(time.perf_counter())
                call = device.prepare_onnx(ours, inputs)
                times.append(time.perf_counter())
                meter.measure(call)
                times.append(time.perf_counter())
                rows.append(np.diff(times))
        cut, direct, session, measuring = (round(float(t), 4) for t in np.median(rows, axis=0))
        line = {"name": name, "cut_s": cut, "direct_s": direct, "session_s": session, "measuring_s": measuring}
        for kind, file in (("cut", cut), ("direct", direct)):
            line[f"not_measuring_{kind}"] = round((file + session) / (file + session + measuring), 3)
        print(line, flush=True)
        found.append(line)
    return found


# Running --------------------------------------------------------------------------------------------------------


def apart(entry: Entry, limit: int) -> dict[str, Any]:
    """The line of one model, measured in a process of its own."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=_child, args=(entry, limit, theirs))
    process.start()
    theirs.close()
    try:
        line: dict[str, Any] = ours.recv()
    except EOFError:
        line = {"name": entry.name, "source": entry.source}
        line["error"] = f"not finished after {limit} CPU seconds, or out of memory"
    process.join()
    return line


def _child(entry: Entry, limit: int, pipe: Any) -> None:
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CPU, (limit + int(time.process_time()), limit + int(time.process_time()) + 5))
    try:
        line = measured(entry)
    except Exception as error:  # noqa: BLE001 - one bad model does not stop the others
        line = {"name": entry.name, "source": entry.source, "error": f"{type(error).__name__}: {error}"[:400]}
    pipe.send(line)
    pipe.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", help="pattern of names")
    parser.add_argument("--again", action="store_true", help="measure also what is in the file of lines")
    parser.add_argument("--limit", type=int, default=240, help="CPU seconds a model may take")
    parser.add_argument("--lines", type=Path, default=Path("runs/sliced.jsonl"))
    parser.add_argument("--evaluation", action="store_true", help="time the parts of an evaluation instead")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    previous = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    covered = json.loads(COVERAGE.read_text())
    converts = {m["name"]: m["cpu_s"] for m in covered["models"] if "share" in m}
    entries = [e for e in catalogue(covered["families"]) if e.name in converts]
    if given.evaluation:
        previous["evaluation"] = evaluations()
    else:
        entries.sort(key=lambda e: (e.name not in EVALUATED, e.source == "torchvision", converts[e.name]))
        known = {} if given.again else read(given.lines)
        run([e for e in entries if fnmatch.fnmatchcase(e.name, given.only) and e.name not in known], given)
    packages = ("torch", "onnx", "onnxruntime", "timm", "torchvision", "transformers", "numpy")
    versions = {"python": platform.python_version(), **{p: importlib.metadata.version(p) for p in packages}}
    settings = {"batch": 1, "subnets": FILES, "exporter": "torch's TorchScript-based one", "limit_s": given.limit}
    lines = read(given.lines)
    models = [lines[e.name] for e in entries if e.name in lines]
    found = {**previous, "settings": settings, "versions": versions, "models": models}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def run(entries: list[Entry], given: argparse.Namespace) -> None:
    """Measure, a line each."""
    given.lines.parent.mkdir(parents=True, exist_ok=True)
    for i, entry in enumerate(entries):
        line = apart(entry, given.limit)
        with given.lines.open("a") as out:
            out.write(json.dumps(line) + "\n")
        said = line.get("reason") or line.get("error")
        said = said or f"{line['sliced_ms']} ms against {line['direct_ms']} ms, apart {line['difference']:.1g}"
        print(f"{i + 1}/{len(entries)}  {entry.name}: {said}", flush=True)


if __name__ == "__main__":
    main()
