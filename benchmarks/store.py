"""How fast the store is: commits a second, one evaluation a transaction, and opening and reading 10,000.

Run it as ``python benchmarks/store.py [FOLDER OR postgresql://URL]``; the folder's disk is what is measured.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from archsmith.architecture import Architecture, Proposal
from archsmith.evaluation import Evaluation
from archsmith.store import Store
from archsmith.value import Value

COMMITS, TOTAL = 1000, 10_000


def evaluation(x: int) -> Evaluation:
    """Of the size that a search over twenty choices writes."""
    architecture = Architecture("benchmark", tuple((f"stage{i}.width", x + i) for i in range(20)))
    values = {name: Value(x / 7, "measured", x / 7 - 1, x / 7 + 1) for name in ("latency_ms", "accuracy_top1")}
    environment = {"host": "somewhere", "torch": "2.13.0", "device": "onnxruntime:threads=1,batch=64"}
    return Evaluation(proposal=Proposal(architecture), values=values, evaluator="e" * 16, environment=environment)


def main(where: str) -> None:
    """Fill a new run, then open the store again and read it."""
    with Store.open(where) as store:
        name = f"benchmark-{len(store.journals())}"
        journal, before = store.journal(name), len(store.evaluations())
        with journal.locked():
            journal.begin({})
            start = time.perf_counter()
            for x in range(before, before + COMMITS):
                journal.ask(1, [evaluation(x).proposal])
                journal.tell([evaluation(x)])
            took = time.perf_counter() - start
            print(f"ask + tell, one transaction each: {2 * COMMITS / took:8.0f} commits/s")
            journal.tell([evaluation(x) for x in range(before + COMMITS, before + TOTAL)])
    for what in ("evaluations", "journal"):
        start = time.perf_counter()
        with Store.open(where) as store:
            opened = time.perf_counter()
            read = store.evaluations() if what == "evaluations" else store.journal(name).lines
        done = time.perf_counter()
        print(f"open: {1e3 * (opened - start):6.1f} ms; read {len(read)} ({what}): {1e3 * (done - opened):6.0f} ms")


if __name__ == "__main__":
    place = sys.argv[1] if len(sys.argv) > 1 else "."
    if "://" in place:
        main(place)
    else:
        with tempfile.TemporaryDirectory(dir=place) as folder:
            main(str(Path(folder) / "store.db"))
