"""The whole job where it hurts: killed at random moments in every stage; real photographs."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

import archsmith as smith
from archsmith.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
CIFAR = Path(os.environ.get("ARCHSMITH_DATA", Path(__file__).parents[3] / "shared" / "data")) / "cifar10"


def test_killed_twenty_times_in_every_stage_the_job_ends_whole(tmp_path, start, archsmith, holds):
    folder = tmp_path / "r"
    small = ["--data", "digits", "--images", "500", "--epochs", "3", "--model-option", "depths=1,2"]
    search = ["--on", "onnxruntime:batch=8", "--limit", "latency_ms<=90%", "--budget", "12", "--baseline", "random:4"]
    arguments = ("search", "--run", folder, *small, *search, "--json")
    rng = np.random.default_rng()  # another moment each time
    seen, kills, patience = [], 0, 6.0
    while kills < 20:
        process = start(*arguments)
        time.sleep(rng.uniform(1.5, patience))
        process.kill()
        kills += process.wait() != 0
        process.communicate()
        if (folder / "store.db").exists():
            with Store.open(folder / "store.db") as store:
                now = store.evaluations()
            assert now[: len(seen)] == seen, "what was finished is still there, in the same order"
            patience = patience if len(now) > len(seen) else patience + 1.0  # progress needs more than the start-up
            seen = now
    ended = archsmith(*arguments)
    assert ended.code == 0, ended.err
    run = smith.Run.open(folder)
    identities = [e.identity for e in run.evaluations()]
    assert len(identities) == len(set(identities)) == 13
    assert len(run.evaluations("baseline-random")) == 4
    for network in json.loads(ended.out)["front"]:
        holds(archsmith("verify", folder / "exports" / f"{network['name']}.onnx", "--json"))


@pytest.mark.skipif(not CIFAR.exists(), reason="needs CIFAR-10 in ARCHSMITH_DATA")
def test_photographs(tmp_path, archsmith, holds):
    small = ["--images", "2000", "--epochs", "1", "--budget", "6", "--on", "onnxruntime:threads=1"]
    ended = archsmith("search", "--run", tmp_path / "r", "--data", CIFAR, *small, "--json")
    assert ended.code == 0, ended.err
    front = json.loads(ended.out)["front"]
    assert front
    assert all(n["values"]["test_accuracy_top1"]["value"] > 10 for n in front)  # better than one class for all
    holds(archsmith("verify", tmp_path / "r" / "exports" / f"{front[0]['name']}.onnx", "--json"))
