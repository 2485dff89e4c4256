"""Models as users have them: each works, or is refused with the reason and the way out, and stays as it was."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import archsmith as smith
from archsmith.errors import InvalidModel
from archsmith.testing import supernets as laws


class Small(nn.Module):
    """A residual block with a buffer, a module in a plain list, and a tensor that is no parameter."""

    def __init__(self):
        super().__init__()
        with laws.seeded():
            self.first, self.block, self.last = nn.Linear(6, 16), nn.Linear(16, 16), nn.Linear(16, 3)
        self.register_buffer("mask", torch.linspace(0.5, 1, 16))
        self.aliases = [self.last]

    def forward(self, x):
        x = self.first(x) * self.mask
        return self.aliases[0](x + F.relu(self.block(x)))


INPUTS = torch.rand(4, 6, generator=torch.Generator().manual_seed(0))


def hooked():
    model = Small()
    model.first.register_forward_hook(lambda _module, _args, output: output * 2)
    return model


def checkpointed():
    model = Small()
    block = model.block.forward
    model.block.forward = lambda x: torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False)
    return model


def without_gradients():
    model = Small()
    return model.requires_grad_(False)


def normed(norm):
    model = Small()
    norm(model.last)
    return model


def inferring():
    class Inferring(Small):
        @torch.inference_mode()
        def forward(self, x):
            return super().forward(x)

    return Inferring()


WORKING = {
    "plain": (Small, torch.float32),
    "half precision": (lambda: Small().half(), torch.float16),
    "bfloat16": (lambda: Small().bfloat16(), torch.bfloat16),
    "double": (lambda: Small().double(), torch.float64),
    "hooks": (hooked, torch.float32),
    "frozen weights": (without_gradients, torch.float32),
    "inference mode": (inferring, torch.float32),
    "weight norm": (lambda: normed(nn.utils.parametrizations.weight_norm), torch.float32),
}


@pytest.mark.parametrize("case", WORKING)
def test_works(case):
    make, dtype = WORKING[case]
    model, inputs = make().eval(), INPUTS.to(dtype)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    supernet = smith.elastic(model, inputs, width=(0.5, 1.0)).eval()
    with torch.no_grad():
        for arch in (supernet.smallest, supernet.largest):
            assert torch.equal(supernet(inputs, arch=arch), supernet.extract(arch)(inputs))
        tolerance = {torch.float16: 1e-2, torch.bfloat16: 5e-2}.get(dtype, 1e-5)
        torch.testing.assert_close(supernet(inputs), model(inputs), rtol=tolerance, atol=tolerance)
    assert sum(p.numel() for p in supernet.extract(supernet.smallest).parameters()) < sum(
        p.numel() for p in model.parameters()
    )
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def scripted():
    return torch.jit.script(nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)))


def quantised():
    if "onednn" in torch.backends.quantized.supported_engines or "fbgemm" in torch.backends.quantized.supported_engines:
        return torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(6, 16)), dtype=torch.qint8)
    raise AssertionError("torch has no quantised engine here")


REFUSED = {
    "compiled": (lambda: torch.compile(Small()), "compiled.*compile that"),
    "compiled inside": (lambda: nn.Sequential(torch.compile(Small())), "compiled.*compile that"),
    "scripted": (scripted, "scripted"),
    "data parallel": (lambda: nn.DataParallel(Small()), "DataParallel"),
    "without size": (lambda: nn.Sequential(nn.LazyLinear(16), nn.Linear(16, 3)), "no size yet; run the model once"),
    "nothing to vary": (lambda: nn.Sequential(nn.ReLU()), "nothing in this model can be elastic"),
    "too small to vary": (lambda: nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3)), "leaves nothing to choose"),
    "no module": (lambda: len, "a model is a torch.nn.Module, got builtin"),
    "quantised": (quantised, "the model is quantised.*quantise what comes out"),
    "spectral norm over the only width": (
        lambda: normed(nn.utils.parametrizations.spectral_norm),
        "assigns this buffer",
    ),
    "old weight norm": (lambda: normed(nn.utils.weight_norm), "weight_norm"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
def test_refused_with_the_way_out(case):
    make, words = REFUSED[case]
    with pytest.raises(InvalidModel, match=f"(?s){words}"):
        smith.elastic(make(), INPUTS)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (torch.rand(4, 5), "does not run on the example inputs"),
        ("text", "does not run on the example inputs"),
        ((INPUTS, INPUTS), "2 inputs by position"),
        ({"images": INPUTS}, "images"),
    ],
)
def test_wrong_inputs_are_refused(inputs, words):
    with pytest.raises(InvalidModel, match=words):
        smith.elastic(Small(), inputs)


def test_a_model_without_memory_can_be_looked_at():
    supernet = smith.elastic(Small().to("meta"), INPUTS.to("meta"))
    assert supernet.account().elastic_parameters > 300
    assert supernet(INPUTS.to("meta"), arch=supernet.smallest).shape == (4, 3)


def test_modes_of_modules_stay_as_they_are():
    model = Small()
    model.block.eval()
    supernet = smith.elastic(model, INPUTS)
    width = smith.Width("width", (8, 16))
    axes = {"0": smith.Elastic(out=width), "1": smith.Elastic(into=width)}
    pair = nn.Sequential(nn.Linear(6, 16), nn.Linear(16, 3).eval())
    declared = smith.elastic(pair, INPUTS, axes)
    assert (supernet.model.first.training, supernet.model.block.training) == (True, False)
    assert (declared.model[0].training, declared.model[1].training) == (True, False)


def test_the_model_itself_is_used_where_asked():
    model = Small()
    supernet = smith.elastic(model, INPUTS, copy=False, importance=None)
    assert supernet.model is model
    untouched = copy.deepcopy(model.state_dict())
    supernet(INPUTS, arch=supernet.smallest)
    assert all(torch.equal(untouched[k], v) for k, v in model.state_dict().items())
