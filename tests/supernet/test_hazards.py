"""What bypasses a shadow is either handled or refused."""

import copy
import io
import pickle
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils import checkpoint as checkpointing

from archsmith.errors import InvalidArchitecture, InvalidModel
from archsmith.supernet import Depth, Elastic, Relaxed, Supernet, Width
from archsmith.testing import supernets as laws


class Perceptron(nn.Module):
    """Two layers around a batch norm; ``around`` may checkpoint the hidden part."""

    def __init__(self, around=None):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)
        self.around = around

    def hidden(self, x):
        return torch.tanh(self.norm(self.first(x)))

    def forward(self, x):
        return self.last(self.hidden(x) if self.around is None else self.around(self.hidden, x))


def declared(width=(3, 8)):
    hidden = Width("hidden", width)
    return {"first": Elastic(out=hidden), "norm": Elastic(over=hidden), "last": Elastic(into=hidden)}


@pytest.fixture
def supernet():
    torch.manual_seed(0)
    return Supernet(Perceptron(), declared())


@pytest.fixture
def x():
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


# Weights that are computed


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize(
    "wrap",
    [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm, nn.utils.spectral_norm],
    ids=["new", "old", "sn"],
)
def test_computed_weights_are_refused(wrap):
    model = Perceptron()
    wrap(model.first)
    with pytest.raises(InvalidModel, match=r"first.*remove"):
        Supernet(model, declared())


def test_computed_weights_beside_elastic_ones(x):
    model = Perceptron()
    nn.utils.parametrizations.weight_norm(model.first)
    supernet = Supernet(model, {"last": Elastic(out=Width("out", (1, 3)))})
    laws.check_equality(supernet, supernet.smallest, (x,))


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
def test_models_that_cannot_be_copied_are_refused():
    model = Perceptron()
    nn.utils.weight_norm(model.first)
    with pytest.raises(InvalidModel, match="cannot be copied"):
        Supernet(model, {"last": Elastic(out=Width("out", (1, 3)))})


def test_lazy_weights_are_refused():
    with pytest.raises(InvalidModel, match="run the model once"):
        Supernet(nn.Sequential(nn.LazyLinear(8)), {"0": Elastic(into=Width("w", (3, 8)))})


# Activation checkpointing


def reentrant(function, x):
    return checkpointing.checkpoint(function, x, use_reentrant=True)


def not_reentrant(function, x):
    return checkpointing.checkpoint(function, x, use_reentrant=False)


def gradients(around, arch_of, x, mixture=None):
    torch.manual_seed(0)
    supernet = Supernet(Perceptron(around), declared()).train()
    arch = mixture if mixture is not None else arch_of(supernet)
    x = x.clone().requires_grad_()
    supernet(x, arch=arch).pow(2).sum().backward()
    return x.grad, {name: p.grad for name, p in supernet.named_parameters()}


@pytest.mark.parametrize("around", [reentrant, not_reentrant])
def test_checkpointing_recomputes_in_the_same_subnet(around, x):
    before = checkpointing.CheckpointFunction, checkpointing._checkpoint_without_reentrant_generator
    plain, with_checkpoints = (gradients(a, lambda s: s.smallest, x) for a in (None, around))
    torch.testing.assert_close(with_checkpoints, plain)
    assert (checkpointing.CheckpointFunction, checkpointing._checkpoint_without_reentrant_generator) == before


def test_checkpointing_recomputes_a_relaxed_subnet(x):
    p = torch.tensor([0.3, 0.7])
    plain, recomputed = (gradients(a, None, x, Relaxed({"hidden": p})) for a in (None, not_reentrant))
    torch.testing.assert_close(recomputed, plain)


def test_checkpointing_elsewhere_is_left_alone(supernet, x):
    seen = []
    supernet.model.register_forward_hook(lambda *_: seen.append(in_thread(lambda: gradients_outside(x))))
    supernet(x, arch=supernet.smallest)
    torch.testing.assert_close(seen[0], gradients_outside(x))


def gradients_outside(x):
    x = x.clone().requires_grad_()
    reentrant(torch.tanh, x).sum().backward()
    return x.grad


# Compilers, exporters, replicas


def test_compiling_is_refused(supernet, x):
    compiled = torch.compile(supernet, backend="eager")
    with pytest.raises(InvalidModel, match="extract"):
        compiled(x, arch=supernet.smallest)
    torch._dynamo.reset()
    model = Perceptron()
    model.first.compile(backend="eager")
    with pytest.raises(InvalidModel, match="compiled"):
        Supernet(model, declared())
    with pytest.raises(InvalidModel, match="compiled"):
        Supernet(torch.compile(Perceptron(), backend="eager"), declared())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_exporting_is_refused(supernet, x):
    with pytest.raises(InvalidModel, match="extract"):
        torch.export.export(supernet, (x,))
    with pytest.raises(InvalidModel, match="extract"):
        torch.jit.trace(supernet, (x,))
    with supernet.active(supernet.smallest), pytest.raises(InvalidModel, match="extract"):
        torch.onnx.export(supernet, (x,), io.BytesIO(), dynamo=False)
    torch.export.export(supernet.extract(supernet.smallest), (x,))


def test_data_parallel_is_refused(supernet):
    with pytest.raises(InvalidModel, match="DistributedDataParallel"):
        supernet._replicate_for_data_parallel()
    with pytest.raises(InvalidModel, match="DataParallel"):
        Supernet(nn.DataParallel(Perceptron()), declared())


# Copies


def test_copies_while_active_are_whole(supernet, x):
    with supernet.active(supernet.smallest):
        twin = copy.deepcopy(supernet)
        assert torch.equal(twin(x, arch=supernet.smallest), supernet(x))
    read = pickle.loads(pickle.dumps(supernet))
    assert torch.equal(read(x), supernet(x))
    assert read.weights_fingerprint == supernet.weights_fingerprint
    with torch.no_grad():
        read.model.first.weight.zero_()
    assert supernet.model.first.weight.any()


@pytest.mark.parametrize("what", ["supernet", "model", "first"])
def test_copies_inside_a_call_are_refused(supernet, x, what):
    thing = {"supernet": supernet, "model": supernet.model, "first": supernet.model.first}[what]
    supernet.model.norm.register_forward_hook(lambda *_: copy.deepcopy(thing) and None)
    with torch.no_grad(), pytest.raises(InvalidModel, match="outside of the call"):
        supernet(x, arch=supernet.smallest)
    copy.deepcopy(thing)


def test_extracting_inside_a_call_is_refused(supernet, x):
    supernet.model.norm.register_forward_hook(lambda *_: supernet.extract(supernet.smallest) and None)
    with pytest.raises(InvalidModel, match="outside of the call"):
        supernet(x)


# Threads and nesting


def in_thread(call):
    found = []

    def run():
        try:
            found.append(call())
        except BaseException as error:  # noqa: BLE001 - handed to the test
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


def test_threads_get_their_own_subnets(mlp, mlp_inputs):
    rng = np.random.default_rng(0)
    archs = [mlp.random(rng) for _ in range(4)]
    expected = [mlp(*mlp_inputs, arch=a).detach() for a in archs]
    wrong = []

    def run(i):
        with mlp.active(archs[i]), torch.no_grad():
            wrong.extend(i for _ in range(30) if not torch.equal(mlp(*mlp_inputs), expected[i]))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_active_belongs_to_its_thread(supernet):
    with supernet.active(supernet.smallest):
        assert in_thread(lambda: supernet.current) == supernet.largest
        assert supernet.current == supernet.smallest
    assert supernet.current == supernet.largest


def test_active_nests_and_survives_exceptions(supernet, x):
    small, large = supernet.smallest, supernet.largest
    with supernet.active(small):
        with supernet.active(large):
            assert torch.equal(supernet(x), supernet(x, arch=large))
        with pytest.raises(RuntimeError), supernet.active(large):
            supernet(x[:, :2])
        assert torch.equal(supernet(x), supernet(x, arch=small))
    assert supernet.current == large


def test_calls_nest(supernet, x):
    supernet.eval()
    inner = []

    def nested(*_):
        if not inner:
            inner.append(None)
            inner.append(supernet(x))

    handle = supernet.model.first.register_forward_hook(nested)
    outer = supernet(x, arch=supernet.smallest)
    handle.remove()
    assert torch.equal(inner[1], supernet(x))
    assert torch.equal(outer, supernet(x, arch=supernet.smallest))


def test_nested_calls_keep_each_others_statistics(x):
    """An index set is a copy: the call around must not write old statistics over those of the call inside."""
    a, b = Width("a", (1, 3)), Width("b", (2, 5))
    elastic = {"0": Elastic(out=a + b), "1": Elastic(over=a + b)}
    torch.manual_seed(0)
    supernet = Supernet(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8)), elastic).train()
    once = copy.deepcopy(supernet)
    calls = []

    def nested(*_):
        if not calls:
            calls.append(1)
            supernet(x, arch=supernet.largest)

    supernet.model[0].register_forward_hook(nested)
    with torch.no_grad():
        supernet(x, arch=supernet.smallest)
        once(x, arch=once.largest)
        once(x, arch=once.smallest)
    assert torch.equal(supernet.model[1].running_mean, once.model[1].running_mean)


# What users see meanwhile


def test_parameters_are_the_full_ones(supernet, x):
    full = {name: p.shape for name, p in supernet.named_parameters()}
    seen = []

    def look(*_):
        seen.append({name: p.shape for name, p in supernet.named_parameters()})
        seen.append({n: t.shape for n, t in supernet.state_dict().items() if n in full})

    supernet.model.norm.register_forward_hook(look)
    with supernet.active(supernet.smallest):
        supernet(x)
        assert {name: p.shape for name, p in supernet.named_parameters()} == full
    assert seen == [full, full]


def test_backward_twice_and_training_steps(supernet, x):
    optimiser = torch.optim.SGD(supernet.parameters(), lr=0.1)
    supernet.train()
    for _ in range(3):
        optimiser.zero_grad()
        for arch in (supernet.smallest, supernet.largest, supernet.smallest):
            supernet(x, arch=arch).pow(2).sum().backward()
        optimiser.step()
    network = supernet.eval().extract(supernet.smallest)
    with torch.no_grad():  # slices cached before the steps must see them
        assert torch.equal(supernet(x, arch=supernet.smallest), network(x))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_precisions(supernet, x, dtype):
    supernet.record_calibration([x])
    with torch.no_grad():
        supernet(x, arch=supernet.smallest)
    supernet.to(dtype).eval()
    supernet.record_calibration([x.to(dtype)])
    with torch.no_grad():
        output = supernet(x.to(dtype), arch=supernet.smallest)
        assert torch.equal(output, supernet.extract(supernet.smallest)(x.to(dtype)))
    assert output.dtype == dtype


def test_other_devices(supernet, x):
    with torch.no_grad():
        supernet(x, arch=supernet.smallest)
        moved = supernet.eval().to("meta")
        assert moved(x.to("meta"), arch=supernet.smallest).device.type == "meta"


def test_slices_follow_replaced_weights(supernet, x):
    supernet.eval()
    with torch.no_grad():
        before = supernet(x, arch=supernet.smallest)
        supernet.model.first.weight.data = torch.zeros(8, 4)
        after = supernet(x, arch=supernet.smallest)
        supernet.model.first.weight = nn.Parameter(torch.ones(8, 4))
        last = supernet(x, arch=supernet.smallest)
    assert not torch.equal(before, after)
    assert not torch.equal(after, last)
    assert torch.equal(last, supernet.extract(supernet.smallest)(x))


def test_inference_mode(supernet, x):
    supernet.eval()
    with torch.inference_mode():
        first = supernet(x, arch=supernet.smallest)
    supernet.train()
    supernet(x, arch=supernet.smallest).sum().backward()
    supernet.eval()
    assert first.shape == supernet(x, arch=supernet.smallest).shape


def test_architectures_of_other_spaces_are_refused(supernet, mlp, x):
    with pytest.raises(InvalidArchitecture, match="belongs to the space"):
        supernet(x, arch=mlp.largest)
    with pytest.raises(InvalidArchitecture), supernet.active(mlp.largest):
        pass
    assert supernet.current == supernet.largest


def test_products_of_spaces_are_read_for_our_choices(supernet, x):
    from archsmith.space import Choice, ChoiceSpace

    product = supernet.space * ChoiceSpace([Choice("recipe.lr", (0.1, 0.2), owner="recipe")])
    arch = product.architecture({"hidden": 3, "recipe.lr": 0.1})
    assert torch.equal(supernet(x, arch=arch), supernet(x, arch=supernet.smallest))


def test_shared_blocks_and_tied_weights():
    torch.manual_seed(0)
    block = nn.Linear(6, 6)
    w = Width("w", (2, 6))
    model = nn.Sequential(nn.Linear(3, 6), Depth("depth", [block, block, block]), nn.Linear(6, 3))
    supernet = Supernet(model, {"0": Elastic(out=w), "1.0": Elastic(out=w, into=w), "2": Elastic(into=w)})
    for arch in (supernet.smallest, supernet.largest, supernet.space.architecture({"w": 2, "depth": 2})):
        network = supernet.extract(arch)
        assert torch.equal(network(torch.ones(1, 3)), supernet(torch.ones(1, 3), arch=arch))
        assert len(set(map(id, network[1]))) == 1


@pytest.mark.parametrize("around", [reentrant, not_reentrant])
def test_checkpointing_with_a_learned_kernel(around):
    from archsmith.supernet import Kernel

    class Net(nn.Module):
        def __init__(self, around):
            super().__init__()
            self.conv, self.around = nn.Conv2d(1, 2, 5, padding=2), around

        def forward(self, x):
            return self.around(self.conv, x)

    found = []
    for wrapper in (lambda function, x: function(x), around):
        torch.manual_seed(0)
        supernet = Supernet(Net(wrapper), {"conv": Elastic(kernel=Kernel("k", (3, 5), "kernel_transform"))})
        images = torch.randn(2, 1, 6, 6).requires_grad_()
        supernet(images, arch=supernet.smallest).pow(2).sum().backward()
        found.append({name: p.grad for name, p in supernet.named_parameters()})
    torch.testing.assert_close(found[1], found[0])
    assert found[0]["policies.conv/5to3"].any()


def test_functional_calls(supernet, x):
    """``torch.func`` puts tensors without memory where the parameters are."""
    supernet.eval()
    parameters = {name: p.detach() * 2 for name, p in supernet.named_parameters()}

    def loss(parameters):
        return torch.func.functional_call(supernet, parameters, (x,), {"arch": supernet.smallest}).pow(2).sum()

    supernet(x, arch=supernet.smallest)
    found = torch.func.grad(loss)(parameters)
    wanted = {name: p.clone().requires_grad_() for name, p in parameters.items()}
    expected = torch.autograd.grad(loss(wanted), list(wanted.values()))
    for name, gradient in zip(wanted, expected, strict=True):
        torch.testing.assert_close(found[name], gradient)
    assert torch.equal(found["model.first.weight"][3:], torch.zeros(5, 4))
