"""Public benchmark tables: published results that strategies are compared on, one table a file."""

from archsmith.benchmark._catalogue import default_folder, describe_benchmark, import_benchmark, open_benchmark, specs
from archsmith.benchmark._sources import Sources
from archsmith.benchmark.base import Benchmark, Contents

ROLE = "give published results of whole search spaces, looked up or predicted"

__all__ = [
    "ROLE",
    "Benchmark",
    "Contents",
    "Sources",
    "default_folder",
    "describe_benchmark",
    "import_benchmark",
    "open_benchmark",
    "specs",
]
