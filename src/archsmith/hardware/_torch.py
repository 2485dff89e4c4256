"""Code shared by the devices that run modules in PyTorch."""

from __future__ import annotations

import copy
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from archsmith.errors import InvalidOption, MeasurementFailed, require
from archsmith.export.onnx_tools.inputs import is_array, resized
from archsmith.hardware._options import (
    at_least_one,
    device_fingerprint,
    first_line,
    one_of,
    thread_count,
    written,
)
from archsmith.hardware.base import Call, Device
from archsmith.hardware.machine import package_version

CPU_PRECISIONS = ("fp32", "bf16")
CUDA_PRECISIONS = ("fp32", "tf32", "bf16")
"""On the graphics processor ``fp32`` is true single precision: without TensorFloat-32, which PyTorch and its libraries
use for convolutions unless told otherwise."""


class TorchDevice(Device):
    """A device that runs modules in PyTorch, and no files."""

    files: ClassVar[tuple[str, ...]] = ()

    def prepare_onnx(self, content: bytes, example_inputs: tuple[Any, ...], *, batch: int | None = None) -> Call:  # noqa: ARG002
        """Refused.

        Raises:
            InvalidOption: always.
        """
        raise InvalidOption(f"{self.name} runs modules, not files; onnxruntime and openvino run ONNX files")

    def prepare_file(self, path: str, example_inputs: tuple[Any, ...]) -> Call:  # noqa: ARG002
        """Refused.

        Raises:
            InvalidOption: always.
        """
        raise InvalidOption(f"{self.name} runs modules, not files like {path}; onnxruntime and openvino run ONNX files")


class ProcessorDevice(TorchDevice):
    """PyTorch on the processor; torch's number of threads, global to the process, is set for a call and restored.

    Args:
        threads: of one operator.
        batch: inputs of one call.
        precision: ``"fp32"``, or ``"bf16"``: weights and inputs are converted; there is no autocast.
    """

    hardware: ClassVar[str] = "cpu"

    def __init__(self, *, threads: int = 1, batch: int = 1, precision: str = "fp32") -> None:
        self._threads = thread_count(threads)
        self.batch = at_least_one("batch", batch)
        self.precision = one_of("precision", precision, CPU_PRECISIONS)

    @property
    def spec(self) -> str:
        """Such as ``torch_cpu:threads=1,batch=64``."""
        return written(self.name, threads=self.threads, batch=self.batch, precision=self.precision)

    @property
    def threads(self) -> int:
        """Threads of one operator."""
        return self._threads

    @property
    def fingerprint(self) -> str:
        """Of processor, torch's version and options."""
        return device_fingerprint(self.spec, self.precision, "torch")

    def synchronize(self) -> None:
        """Return at once: nothing is queued, and a call returns when it is done."""


class GraphicsDevice(TorchDevice):
    """PyTorch on a CUDA graphics processor; inputs and outputs stay in its memory, and wall-time minima are used.

    Args:
        batch: inputs of one call.
        precision: ``"fp32"``, ``"tf32"`` (TensorFloat-32 in convolutions and matrix products), or ``"bf16"``: weights
            and inputs are converted; there is no autocast.
    """

    hardware: ClassVar[str] = "cuda"
    wall_only: ClassVar[bool] = True
    reference_batch: ClassVar[int] = 2048

    def __init__(self, *, batch: int = 1, precision: str = "fp32") -> None:
        self.batch = at_least_one("batch", batch)
        self.precision = one_of("precision", precision, CUDA_PRECISIONS)

    @property
    def spec(self) -> str:
        """Such as ``torch_cuda:batch=64``."""
        return written(self.name, batch=self.batch, precision=self.precision)

    @property
    def threads(self) -> int:
        """One thread of the processor, which only launches kernels."""
        return 1

    @property
    def fingerprint(self) -> str:
        """Of processor, graphics processor, torch's version and options."""
        return device_fingerprint(self.spec, self.precision, "torch", graphics_processor())

    def synchronize(self) -> None:
        """Wait until the graphics processor is done."""
        import torch

        torch.cuda.synchronize()


def lacks_torch() -> str:
    """Why PyTorch cannot run here; empty where it can."""
    return "" if package_version("torch") else "needs torch: pip install 'archsmith[torch]'"


def lacks_cuda() -> str:
    """Why PyTorch cannot run on a graphics processor here; empty where it can."""
    if why := lacks_torch():
        return why
    import torch

    if torch.version.cuda is None:
        return f"this torch ({torch.__version__}) was built without CUDA: install a build with it from pytorch.org"
    return "" if torch.cuda.is_available() else "torch sees no CUDA device: is there one, with its driver?"


def graphics_processor() -> str:
    """Name, compute capability and memory of the current CUDA device, and CUDA's version."""
    import torch

    found = torch.cuda.get_device_properties(torch.cuda.current_device())
    return f"{found.name} {found.major}.{found.minor} {found.total_memory} cuda {torch.version.cuda}"


def prepared(
    device: Device, module: Any, example_inputs: tuple[Any, ...], wrap: Callable[[Any], Any], *, batch: int, where: str
) -> Call:
    """A call of a copy of ``module`` in inference mode, with its inputs ready; it has run once.

    Args:
        device: its ``precision`` is used, and its ``spec`` in messages.
        module: copied, never changed.
        example_inputs: tensors of one call.
        wrap: turns the copied module into what is called, such as by compiling it.
        batch: inputs of one call.
        where: torch's name of the hardware: ``"cpu"`` or ``"cuda"``.

    Raises:
        MeasurementFailed: when the module cannot be copied, or refuses the inputs.
    """
    torch = require("torch", extra="torch", purpose=f"The device {device.name}")
    given = resized(example_inputs, batch)
    kind = torch.bfloat16 if device.precision == "bf16" else None

    def placed(x: Any) -> Any:
        tensor = torch.as_tensor(x) if is_array(x) else x
        if not isinstance(tensor, torch.Tensor):
            return tensor
        return tensor.to(where, kind if tensor.is_floating_point() else None)

    try:
        network = wrap(copy.deepcopy(module).to(where, kind).eval())
        inputs = tuple(placed(x) for x in given)

        def call() -> object:
            with torch.inference_mode():
                return network(*inputs)

        with torch.inference_mode():
            network(*inputs)
    except MeasurementFailed:
        raise
    except Exception as error:  # a user's network may raise anything
        raise MeasurementFailed(f"{device.spec} cannot run this network: {first_line(error)}") from error
    return call


def on_threads(make: Callable[[], Call], threads: int) -> Call:
    """The call that ``make`` returns, made and called with ``threads`` threads; torch's number is restored after."""
    import torch

    with _threads(threads):
        run = make()

    def call() -> object:
        if torch.get_num_threads() == threads:
            return run()
        with _threads(threads):
            return run()

    return call


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_tf32(make: Callable[[], Call], *, tf32: bool) -> Call:
    """The call that ``make`` returns, made and called with TensorFloat-32 on or off; torch's settings are restored."""
    import torch

    backends: Any = torch.backends
    parts = (backends.cuda.matmul, backends.cudnn.conv)
    wanted = "tf32" if tf32 else "ieee"

    def within(run: Callable[[], Any]) -> Any:
        before = [part.fp32_precision for part in parts]
        for part in parts:
            part.fp32_precision = wanted
        try:
            return run()
        finally:
            for part, value in zip(parts, before, strict=True):
                part.fp32_precision = value

    run = within(make)
    return lambda: within(run)


def compiler(device: Device) -> Callable[[Any], Any]:
    """A function that compiles one network; the network is compiled at its first call.

    Dynamo caches what it compiled by the code of ``forward``: after eight networks of one class it silently runs the
    ninth eagerly. So its cache is emptied before each network, each network gets a code object of its own, and a
    network of which nothing was compiled is refused.

    Raises:
        MeasurementFailed: at the first call, when nothing of the network was compiled.
    """
    import torch
    from torch._dynamo.backends.registry import lookup_backend

    inductor = lookup_backend("inductor")

    def wrap(module: Any) -> Any:
        graphs: list[int] = []

        def counting(graph: Any, inputs: Any, **options: Any) -> Any:
            graphs.append(len(graph.graph.nodes))
            return inductor(graph, inputs, **options)

        torch._dynamo.reset()
        compiled = torch.compile(_own_code(module), backend=counting, dynamic=False)

        def network(*inputs: Any) -> Any:
            if graphs:
                return compiled(*inputs)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns about its own code while it compiles
                outputs = compiled(*inputs)
            if not graphs:
                raise MeasurementFailed(
                    f"{device.spec}: nothing of this network was compiled, it would be timed in eager mode; measure it "
                    "on the eager device of the same hardware instead"
                )
            return outputs

        return network

    return wrap


def _own_code(module: Any) -> Callable[..., Any]:
    """A function that runs ``module`` and whose code object no other network shares."""

    def run(*inputs: Any) -> Any:
        return module(*inputs)

    code = run.__code__.replace(co_name=f"network_{id(module)}")
    return types.FunctionType(code, run.__globals__, code.co_name, run.__defaults__, run.__closure__)
