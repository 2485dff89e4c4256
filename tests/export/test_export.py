"""Files that are equal to the network they hold, and say so when they are not."""

import errno
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from archsmith import method
from archsmith.errors import DamagedFile, InvalidModel, InvalidOption, RunMismatch, StorageFull
from archsmith.export import onnx as onnx_module
from archsmith.export.base import Origin
from archsmith.export.onnx import Onnx
from archsmith.export.onnx_tools.comparing import difference, tensors
from archsmith.export.onnx_tools.fast_exporter import candidate_onnx
from archsmith.export.onnx_tools.inputs import batch_size, has_batch, random_like, resized
from archsmith.export.onnx_tools.onnx_file import OnnxFile
from archsmith.export.safetensors import ARCHITECTURE_SUFFIX, Safetensors, inputs_from, load_network, read_architecture
from archsmith.supernet import Elastic, Supernet, Width

SOURCE = {"factory": "tests:tiny", "options": {"width": 6}}


def tiny(seed=0, sizes=(2, 4, 6)):
    """A supernet small enough to export in a second."""
    width = Width("width", sizes)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, 4),
        )
        model(torch.randn(16, 3, 5, 5))  # batch-norm statistics that are not the initial ones
    elastic = {"0": Elastic(out=width), "1": Elastic(over=width), "5": Elastic(into=width)}
    return Supernet(model.eval(), elastic, example_inputs=(torch.zeros(2, 3, 5, 5),))


EXAMPLE = (torch.zeros(2, 3, 5, 5),)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="module")
def supernet():
    return tiny()


@pytest.fixture(scope="module")
def architecture(supernet):
    return supernet.space.architecture({"width": 4})


@pytest.fixture(scope="module")
def network(supernet, architecture):
    return supernet.extract(architecture)


@pytest.fixture(scope="module")
def origin(supernet, architecture):
    return Origin(source=SOURCE, architecture=architecture, plan=supernet.plan(architecture))


@pytest.fixture(scope="module")
def onnx_path(network, folder):
    Onnx().write(network, EXAMPLE, folder / "net.onnx")
    return folder / "net.onnx"


@pytest.fixture
def saved(network, origin, tmp_path):
    Safetensors().write(network, EXAMPLE, tmp_path / "net.safetensors", origin=origin)
    return tmp_path / "net.safetensors"


def outputs(network, *inputs):
    with torch.no_grad():
        return network(*inputs)


class TestOnnx:
    def test_any_batch_gives_the_modules_outputs(self, onnx_path, network):
        file = OnnxFile(onnx_path)
        assert file.batch is None
        for batch in (1, 2, 5, 64):
            x = torch.randn(batch, 3, 5, 5)
            torch.testing.assert_close(file(x), outputs(network, x), rtol=1e-5, atol=1e-6)

    def test_candidate_file_gives_the_same(self, onnx_path, network):
        x = torch.randn(2, 3, 5, 5)
        fast = OnnxFile(candidate_onnx(network, EXAMPLE))
        torch.testing.assert_close(fast(x), OnnxFile(onnx_path)(x), rtol=1e-5, atol=1e-6)

    def test_what_the_fast_exporter_refuses_goes_through_the_other_in_silence_and_is_remembered(
        self, capfd, monkeypatch
    ):
        class Steps(nn.Module):
            def forward(self, x):
                return torch.diff(x).tanh()

        asked, export = [], torch.onnx.export
        monkeypatch.setattr("torch.onnx.export", lambda *a, **k: asked.append(k["dynamo"]) or export(*a, **k))
        x = torch.randn(2, 5)
        for _ in range(2):
            torch.testing.assert_close(OnnxFile(candidate_onnx(Steps(), (x,)))(x), torch.diff(x).tanh())
        assert asked == [False, True, True]
        assert capfd.readouterr() == ("", "")

    def test_equal_networks_give_equal_bytes_without_folders_of_this_machine(self, onnx_path, network, tmp_path):
        written = Onnx().write(network, EXAMPLE, tmp_path / "other.onnx")
        content = (tmp_path / "other.onnx").read_bytes()
        assert content == onnx_path.read_bytes()
        assert b"site-packages" not in content
        assert b".py" not in content
        assert written.details["opset"] == 20
        assert written.details["dynamic_batch"] is True
        assert list(tmp_path.iterdir()) == list(written.paths)

    def test_a_network_tied_to_its_batch_is_exported_for_it(self, tmp_path):
        class Tied(nn.Module):
            def forward(self, x):
                return x.reshape(4, -1).tanh()

        x = torch.randn(4, 3)
        written = Onnx().write(Tied(), (x,), tmp_path / "tied.onnx")
        assert written.details["dynamic_batch"] is False
        file = OnnxFile(tmp_path / "tied.onnx")
        assert file.batch == 4
        many = torch.randn(10, 3)  # two full calls and a padded one
        torch.testing.assert_close(file(many), many.tanh())

    def test_a_file_that_computes_something_else_is_not_written(self, network, tmp_path, monkeypatch):
        monkeypatch.setattr(onnx_module, "_export", lambda *a, **k: candidate_onnx(nn.Flatten(), EXAMPLE))
        with pytest.raises(
            InvalidModel, match=r"cannot be exported to ONNX: any batch: .*; fixed batch: outputs differ"
        ):
            Onnx().write(network, EXAMPLE, tmp_path / "wrong.onnx")
        assert list(tmp_path.iterdir()) == []

    def test_a_network_that_no_exporter_takes_says_why(self, tmp_path):
        class Refuses(nn.Module):
            def forward(self, x):
                raise RuntimeError("not today")

        with pytest.raises(InvalidModel, match="not today"):
            Onnx().write(Refuses(), EXAMPLE, tmp_path / "x.onnx")

    def test_damage_is_named(self, tmp_path):
        (tmp_path / "x.onnx").write_bytes(b"nothing of the kind")
        with pytest.raises(DamagedFile, match=r"cannot load .*x[.]onnx"):
            OnnxFile(tmp_path / "x.onnx")

    def test_inputs_that_do_not_fit_are_named(self, onnx_path):
        file = OnnxFile(onnx_path)
        with pytest.raises(InvalidOption, match="reads 1 inputs, got 2"):
            file(torch.zeros(1, 3, 5, 5), torch.zeros(1))
        with pytest.raises(InvalidOption, match="cannot run these inputs"):
            file(torch.zeros(1, 7, 5, 5))


class TestSafetensors:
    def test_rebuilt_network_is_equal_bit_for_bit(self, saved, network):
        x = torch.randn(3, 3, 5, 5)
        for path in (saved, saved.with_suffix(ARCHITECTURE_SUFFIX)):
            again = load_network(path, lambda source: tiny(seed=9))  # other weights: they do not matter
            assert torch.equal(outputs(again, x), outputs(network, x))
            assert not again.training
            assert type(again) is nn.Sequential

    def test_the_source_comes_back(self, saved):
        seen = []
        load_network(saved, lambda source: seen.append(source) or tiny())
        assert seen == [SOURCE]
        described = inputs_from(read_architecture(saved.with_suffix(ARCHITECTURE_SUFFIX))["inputs"])
        assert [(x.shape, x.dtype) for x in described] == [(EXAMPLE[0].shape, torch.float32)]

    def test_calibrated_statistics_travel(self, tmp_path, architecture, origin):
        supernet = tiny()
        supernet.record_calibration([torch.randn(16, 3, 5, 5, generator=torch.Generator().manual_seed(1))])
        network = supernet.extract(architecture)
        Safetensors().write(network, EXAMPLE, tmp_path / "net.safetensors", origin=origin)
        x = torch.randn(3, 3, 5, 5)
        again = load_network(tmp_path / "net.safetensors", lambda source: tiny())
        assert torch.equal(outputs(again, x), outputs(network, x))
        assert not torch.equal(outputs(again, x), outputs(tiny().extract(architecture), x))

    def test_tied_weights_survive(self, tmp_path, origin):
        network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        network[1].weight = network[0].weight
        Safetensors().write(network, (torch.zeros(1, 3),), tmp_path / "tied.safetensors", origin=origin)
        assert read_architecture(tmp_path / "tied.architecture.json")["weights"]["file"] == "tied.safetensors"

    def test_state_beyond_tensors_is_refused(self, tmp_path, origin):
        class Extra(nn.Linear):
            def get_extra_state(self):
                return {"secret": 1}

        with pytest.raises(InvalidModel, match="tensors only, but the state of _extra_state"):
            Safetensors().write(Extra(2, 2), EXAMPLE, tmp_path / "x.safetensors", origin=origin)
        assert list(tmp_path.iterdir()) == []

    def test_without_origin_it_is_refused(self, network, tmp_path):
        with pytest.raises(InvalidOption, match="give the origin="):
            Safetensors().write(network, EXAMPLE, tmp_path / "x.safetensors")

    def test_changed_weights_are_noticed(self, saved):
        content = bytearray(saved.read_bytes())
        content[-1] ^= 1
        saved.write_bytes(content)
        with pytest.raises(DamagedFile, match="is not the file that"):
            load_network(saved, lambda source: tiny())
        saved.unlink()
        with pytest.raises(DamagedFile, match="is missing; it holds the weights"):
            load_network(saved, lambda source: tiny())

    def test_another_supernet_is_noticed(self, saved):
        with pytest.raises(RunMismatch, match="now builds another supernet"):
            load_network(saved, lambda source: tiny(sizes=(3, 4, 6)))

    def test_another_model_of_the_same_space_is_noticed(self, saved):
        class Wider:
            def __init__(self):
                self.supernet = tiny()

            def plan(self, arch):
                return self.supernet.plan(arch)

            def extract(self, arch):
                return nn.Sequential(nn.Linear(3, 3))

        with pytest.raises(RunMismatch, match="do not fit the network that its source builds"):
            load_network(saved, lambda source: Wider())

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda d: d.update(format="x"), "no architecture file"),
            (lambda d: d.update(version=2), "has version 2, this archsmith reads 1: update"),
            (lambda d: d.pop("plan"), "no whole architecture file"),
            (lambda d: d.update(weights=3), "no whole architecture file"),
            (lambda d: d["weights"].update(file="../other.safetensors"), "no whole architecture file"),
        ],
    )
    def test_a_damaged_architecture_file_is_named(self, saved, change, message):
        path = saved.with_suffix(ARCHITECTURE_SUFFIX)
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))
        with pytest.raises(DamagedFile, match=message):
            load_network(saved, lambda source: tiny())

    def test_truncated_json_is_named(self, saved):
        path = saved.with_suffix(ARCHITECTURE_SUFFIX)
        path.write_text(path.read_text()[:50])
        with pytest.raises(DamagedFile, match="cannot be read"):
            load_network(saved, lambda source: tiny())


@pytest.mark.parametrize("name", method.names("export"))
class TestEveryFormat:
    def test_leaves_the_module_as_found(self, name, supernet, origin, tmp_path):
        network = supernet.extract(origin.architecture).train()
        before = {k: v.clone() for k, v in network.state_dict().items()}
        format_ = method.make("export", name)
        written = format_.write(network, EXAMPLE, tmp_path / f"net{format_.suffix}", origin=origin)
        assert network.training
        assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
        assert set(written.paths) == set(tmp_path.iterdir())
        assert json.loads(json.dumps(dict(written.details))) == dict(written.details)

    def test_another_suffix_is_refused(self, name, network, origin, tmp_path):
        format_ = method.make("export", name)
        with pytest.raises(InvalidOption, match=f"must end in {format_.suffix}"):
            format_.write(network, EXAMPLE, tmp_path / "net.pt", origin=origin)

    def test_a_full_disk_leaves_nothing_behind(self, name, network, origin, tmp_path, monkeypatch):
        def full(*args):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("archsmith.files.os.fsync", full)
        monkeypatch.setattr(onnx_module, "_export", lambda *a, **k: candidate_onnx(network, EXAMPLE))
        format_ = method.make("export", name)
        with pytest.raises(StorageFull, match="no space left"):
            format_.write(network, EXAMPLE, tmp_path / f"net{format_.suffix}", origin=origin)
        assert list(tmp_path.iterdir()) == []


class TestDifference:
    def test_is_zero_for_equal_outputs(self):
        x = {"a": torch.randn(3), "b": [torch.randn(2), (torch.randn(1),)]}
        assert difference(x, x).absolute == 0
        assert len(tensors(x)) == 3

    @given(st.floats(1e-6, 10.0), st.floats(0.1, 100.0))
    def test_is_the_largest_and_its_share_of_the_largest_output(self, step, scale):
        a = torch.tensor([0.0, scale], dtype=torch.float64)
        found = difference(a, a + torch.tensor([step, 0.0], dtype=torch.float64))
        assert found.absolute == pytest.approx(step)
        assert found.relative == pytest.approx(step / scale)
        assert found.equal == (step / scale <= 1e-4)

    @pytest.mark.parametrize(
        ("a", "b"),
        [
            (torch.zeros(2), torch.zeros(3)),
            (torch.zeros(2), [torch.zeros(2), torch.zeros(2)]),
            (torch.zeros(2), torch.tensor([0.0, float("nan")])),
            (torch.tensor([float("inf")]), torch.tensor([-float("inf")])),
            ((), ()),
        ],
    )
    def test_what_cannot_be_compared_is_infinitely_apart(self, a, b):
        assert difference(a, b).relative == np.inf
        assert not difference(a, b).equal

    def test_equal_infinities_are_equal(self):
        x = torch.tensor([float("inf"), 1.0])
        assert difference(x, x).equal


class TestInputs:
    @given(st.integers(1, 4), st.integers(1, 9))
    def test_resizing_repeats_or_cuts(self, size, batch):
        x = torch.arange(size)
        mask = torch.ones(7) if size != 7 else torch.ones(8)
        a, b, c = resized((x, mask, "flag"), batch)
        assert a.tolist() == [i % size for i in range(batch)]
        assert b is mask or torch.equal(b, mask)
        assert c == "flag"
        assert batch_size((a,)) == batch
        assert has_batch(a, batch)

    def test_random_inputs_keep_shapes_types_and_integers(self):
        x, i = torch.zeros(2, 3), torch.tensor([1, 2])
        a, b = random_like((x, i), seed=1)
        assert a.shape == x.shape
        assert a.dtype == x.dtype
        assert b is i
        assert torch.equal(a, random_like((x, i), seed=1)[0])
        assert not torch.equal(a, random_like((x, i), seed=2)[0])
