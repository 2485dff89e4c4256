"""Size of a subnet's ONNX file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from archsmith.architecture import Proposal
from archsmith.candidates.files import Files
from archsmith.candidates.fingerprints import input_shapes
from archsmith.errors import EvaluationFailed
from archsmith.evaluator.base import Evaluator
from archsmith.evaluator.footprint import one_input
from archsmith.export.onnx_tools.by_position import positional
from archsmith.export.onnx_tools.fast_exporter import candidate_onnx
from archsmith.fingerprint import fingerprint_of
from archsmith.method import OURS
from archsmith.metric import KNOWN_METRICS, Metric
from archsmith.supernet.supernet import Supernet
from archsmith.value import Value


@final
class FileSize(Evaluator):
    """``size_mib``: MiB of the ONNX file that a candidate is measured as, weights in the precision they have.

    The file that is handed out comes from another exporter and differs by the few KiB that describe its operators.

    Args:
        supernet: from which subnets are extracted.
        files: of candidates, where a search makes them anyway; a file of its own for a batch of one otherwise.
    """

    paper = OURS
    depends_on = "architecture"

    def __init__(self, supernet: Supernet, files: Files | None = None) -> None:
        self._supernet, self._files = supernet, files

    @property
    def metrics(self) -> Sequence[Metric]:
        return (KNOWN_METRICS["size_mib"],)

    @property
    def fingerprint(self) -> str:
        also = () if self._files is None else ("candidates", self._files.fingerprint)
        return fingerprint_of("file_size", self._supernet.space.fingerprint, input_shapes(self._supernet), *also)

    def measure(self, proposal: Proposal, *, seed: int) -> Mapping[str, Value]:
        del seed  # nothing here is random
        if self._files is not None:
            return {"size_mib": Value(len(self._files.content(proposal.architecture)) / 2**20, "measured")}
        module = positional(self._supernet.extract(proposal.architecture), self._supernet.input_names)
        try:
            content = candidate_onnx(module, one_input(self._supernet.inputs_of(proposal.architecture)))
        except Exception as error:  # exporters raise many kinds
            raise EvaluationFailed(f"the network cannot be exported: {str(error).splitlines()[0][:300]}") from error
        return {"size_mib": Value(len(content) / 2**20, "measured")}
