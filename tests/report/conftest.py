"""A run that never was: toy networks whose accuracy and latency follow from their choices."""

import numpy as np
import pytest

from archsmith.architecture import Proposal
from archsmith.evaluation import Evaluation
from archsmith.metric import Limit, Objective
from archsmith.report import FinalNetwork, ReportData
from archsmith.space import Choice, ChoiceSpace
from archsmith.value import Value


@pytest.fixture(scope="session")
def space():
    stages = []
    for s in (1, 2, 3):
        stages += [Choice(f"stage{s}.depth", (1, 2, 3)), Choice(f"stage{s}.width", (8, 16, 24, 32))]
        stages += [
            Choice(f"stage{s}.block{b}.kernel", (3, 5), when=(f"stage{s}.depth", tuple(range(b, 4)))) for b in (1, 2, 3)
        ]
    return ChoiceSpace((*stages, Choice("activation", ("relu", "silu", "hardswish"), kind="categorical")))


METRICS = ("accuracy_top1", "latency_ms", "params")


def evaluate(architecture, rng, *, metrics=METRICS, effort=1.0, fail=0.0):
    proposal = Proposal(architecture)
    if rng.random() < fail:
        return Evaluation(
            proposal=proposal, values={}, evaluator="toy", status="failed", reason="out of memory in stage3"
        )
    cost = sum(architecture[f"stage{s}.depth"] * architecture[f"stage{s}.width"] * s for s in (1, 2, 3))
    latency = 0.6 + cost / 130 + rng.normal(0, 0.02)
    gain = 1 - np.exp(-cost / 160)
    accuracy = 84 + 14.4 * gain - 1.2 * (architecture["activation"] == "relu") + rng.normal(0, 0.25)
    half = 0.03 * latency / effort
    values = {
        "accuracy_top1": Value(accuracy, "measured", accuracy - 0.8, min(100.0, accuracy + 0.7)),
        "latency_ms": Value(latency, "measured", latency - half, latency + half),
        "params": Value(float(1200 + 95 * cost), "computed"),
        "macs": Value(float(4000 * sum(architecture[f"stage{s}.width"] for s in (1, 2, 3))), "computed"),
    }
    return Evaluation(proposal=proposal, evaluator="toy", values={m: values[m] for m in metrics})


OBJECTIVES = (Objective("accuracy_top1", "max"), Objective("latency_ms", "min"), Objective("params", "min"))


@pytest.fixture(scope="session")
def make(space):
    """Builds a ``ReportData``: ``make(objectives=2, n=40, baseline=20, finals=True, fail=0.05, **changes)``."""

    def make(*, objectives=2, n=40, baseline=20, finals=True, fail=0.05, seed=0, metrics=METRICS, **changes):
        rng = np.random.default_rng(seed)
        found = [evaluate(a, rng, fail=fail, metrics=metrics) for a in space.sample(n, rng)]
        other = [evaluate(a, rng, fail=fail, metrics=metrics) for a in space.sample(baseline, rng)]
        largest = evaluate(space.largest(), rng, metrics=metrics)
        wanted = {
            "title": "digits, residual_convnet",
            "run": "runs/demo",
            "objectives": OBJECTIVES[:objectives] if objectives > 1 else OBJECTIVES[:1],
            "limits": (Limit("latency_ms", "<=", 0.6 * largest["latency_ms"]),),
            "evaluations": found,
            "baselines": {"random": other} if baseline else {},
            "space": space,
            "largest": largest,
            "settings": {
                "data": "digits",
                "strategy": "linas",
                "budget": "40",
                "device": "onnxruntime:threads=1,batch=64",
            },
            "seeds": {"search": 7, "training": 7},
            "environment": {"python": "3.11.7", "cpu": "a processor with a long name", "packages": {"numpy": "2.4.6"}},
            "timing": {"training": 71.2, "measuring": 61.0, "accuracy": 8.3, "everything else": 4.4},
            "training": [{"epoch": i, "largest": 2.3 * 0.8**i, "smallest": 2.4 * 0.86**i} for i in range(1, 11)],
            "notes": ["The test split was made here: 20 % of all images, by class."],
        } | changes
        data = ReportData(**wanted)
        if not finals:
            return data
        return ReportData(**wanted | {"networks": [final(e, rng, i) for i, e in enumerate(data.front)]})

    return make


def final(evaluation, rng, i):
    again = evaluate(evaluation.architecture, rng, effort=2.0)
    test = Value(again["accuracy_top1"] - 0.6, "measured", again["accuracy_top1"] - 1.4, again["accuracy_top1"] + 0.2)
    values = {"accuracy_top1": evaluation.values["accuracy_top1"], "latency_ms": again.values["latency_ms"]}
    values |= {"test_accuracy_top1": test, "params": evaluation.values["params"]}
    values |= {name: value for name, value in evaluation.values.items() if name == "macs"}
    done = Evaluation(proposal=evaluation.proposal, evaluator="toy", values=values)
    name = evaluation.architecture.key[:8]
    if i == 1:
        return FinalNetwork(name, evaluation, done, dropped="latency_ms 2.61 (at most 2.66) breaks latency_ms<=2.6")
    files = {f"exports/{name}.onnx": 251_000, f"exports/{name}.safetensors": 240_112, f"exports/{name}.json": 8_120}
    return FinalNetwork(name, evaluation, done, files, {"line": "equal to 2.1e-07 on 384 inputs"})
