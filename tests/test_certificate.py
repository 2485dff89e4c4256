"""A certificate proves what it says, and notices when that is no longer so."""

import dataclasses
import json

import pytest
import torch
from torch import nn

from archsmith.certificate import Exported, certificate_path, certify, read_certificate, verify
from archsmith.certificate.samples import STEPS_PER_UNIT, _input, _tensor
from archsmith.errors import DamagedFile, InvalidModel, InvalidOption
from archsmith.export.base import Origin
from archsmith.export.onnx import Onnx
from archsmith.export.onnx_tools.inputs import random_like, resized
from archsmith.export.onnx_tools.onnx_file import OnnxFile
from archsmith.export.safetensors import Safetensors
from archsmith.hardware import Meter, open_device
from archsmith.supernet import Elastic, Supernet, Width
from archsmith.testing.clock import FakeClock, FakeDevice
from archsmith.value import Value

INPUTS = (torch.zeros(2, 3, 4, 4),)
SOURCE = {"factory": "tests:tiny", "options": {}}


def tiny(seed=0):
    width = Width("width", (2, 4, 6))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3))
    return Supernet(model.eval(), {"0": Elastic(out=width), "3": Elastic(into=width * 4)}, example_inputs=INPUTS)


def batches(seed=5, n=40):
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, 4, 4, generator=rng)
    y = torch.randint(0, 3, (n,), generator=rng)
    return list(zip(x.split(16), y.split(16), strict=True))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """One network with its files; written once, because the exporter is slow."""
    path = tmp_path_factory.mktemp("exports") / "small.onnx"
    supernet = tiny()
    architecture = supernet.space.architecture({"width": 4})
    network = supernet.extract(architecture)
    origin = Origin(source=SOURCE, architecture=architecture, plan=supernet.plan(architecture))
    Onnx().write(network, INPUTS, path)
    Safetensors().write(network, INPUTS, path.with_suffix(".safetensors"), origin=origin)
    return Exported(
        path=path, supernet=supernet, architecture=architecture, build=lambda s: tiny(seed=3), inputs=INPUTS
    )


@pytest.fixture
def copy(exported, tmp_path):
    """The same files in a folder that a test may spoil."""
    for file in exported.path.parent.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return dataclasses.replace(exported, path=tmp_path / exported.path.name)


@pytest.fixture
def meter():
    device = FakeDevice(FakeClock())
    with Meter(device, clock=device.clock, anchor_ms=1.0) as meter:
        yield meter


@pytest.fixture
def certificate(copy, meter):
    believed = {"latency_ms": Value(0.01, "measured", 0.009, 0.011)}
    return certify(
        copy,
        batches={"val": batches(), "test": batches(seed=6, n=20)},
        meter=meter,
        believed=believed,
        details={"opset": 20},
    )


def statuses(verdict):
    return {c.name: c.status for c in verdict.checks}


def build(source):
    assert source == SOURCE
    return tiny(seed=8)


def test_it_says_what_was_proven(certificate, copy):
    data = json.loads(certificate.path.read_text())
    assert data == json.loads(json.dumps(dict(certificate.data)))
    assert set(data["files"]) == {"small.onnx", "small.safetensors", "small.architecture.json"}
    pairs = {(row["inputs"], *row["between"]) for row in data["outputs"]["compared"]}
    assert len(pairs) == 3 * 6  # random, val, test; every pair of four forms
    assert ("val", "active subnet", "ONNX file") in pairs
    assert data["believed"]["latency_ms"]["value"] == 0.01
    assert data["latency"]["of"] == "file"
    assert data["latency"]["low"] <= data["latency"]["latency_ms"] <= data["latency"]["high"]
    assert data["environment"]["packages"]["torch"]
    assert data["export"] == {"opset": 20}
    for word in ("small.onnx", "val accuracy", "test accuracy", "latency of the file", "the search found 0.01 [0.009"):
        assert word in certificate.line


@pytest.mark.parametrize("off", [0, 1])
def test_it_says_what_the_search_had_found_where_that_is_something_else(copy, meter, certificate, off):
    found = certificate.data["accuracy"]["val"]["top1"]
    size = copy.path.stat().st_size / 2**20
    believed = {"accuracy_top1": Value(found + off, "measured"), "size_mib": Value(size + off, "measured")}
    line = certify(copy, batches={"val": batches()}, meter=meter, believed=believed).line
    assert f"val accuracy {found:.2f} %" + (f" (the search found {found + 1:.4g})," if off else ",") in line
    assert f"{size:.4g} MiB" + (f" (the search found {size + 1:.4g});" if off else ";") in line


def test_accuracy_is_the_files_own(certificate, copy):
    network = copy.supernet.extract(copy.architecture)
    with torch.no_grad():
        right = sum(int((network(x).argmax(1) == y).sum()) for x, y in batches())
    found = certificate.data["accuracy"]["val"]
    assert (found["top1"], found["right"], found["total"]) == (100 * right / 40, right, 40)


def test_everything_holds_where_everything_is_at_hand(certificate, meter):
    verdict = verify(
        certificate.path, build=build, batches={"val": batches(), "test": batches(seed=6, n=20)}, meter=meter
    )
    assert set(statuses(verdict).values()) == {"ok"}
    assert verdict.ok
    assert verdict.lines()[-1] == "small.certificate.json holds"


def test_what_is_not_at_hand_is_skipped_and_said(certificate, copy):
    verdict = verify(copy.path)
    assert verdict.ok
    assert statuses(verdict) == {
        "file small.onnx": "ok",
        "file small.safetensors": "ok",
        "file small.architecture.json": "ok",
        "recorded outputs": "ok",
        "rebuilt module": "skipped",
        "accuracy on val": "skipped",
        "accuracy on test": "skipped",
        "latency": "skipped",
    }
    assert "4 of 8 checks skipped" in verdict.lines()[-1]
    assert json.loads(json.dumps(verdict.to_json()))["ok"] is True


@pytest.mark.parametrize("name", ["small.onnx", "small.safetensors", "small.architecture.json"])
@pytest.mark.parametrize("spoil", ["cut", "flip", "remove"])
def test_a_file_that_changed_is_noticed(certificate, name, spoil):
    file = certificate.path.with_name(name)
    content = bytearray(file.read_bytes())
    if spoil == "remove":
        file.unlink()
    else:
        content[len(content) // 2] ^= 255
        file.write_bytes(content[:-30] if spoil == "cut" else content)
    verdict = verify(certificate.path, build=build)
    assert not verdict.ok
    assert statuses(verdict)[f"file {name}"] == "failed"
    assert "DOES NOT HOLD" in verdict.lines()[-1]


def renamed(certificate, name):
    """Copies of all four files in the same folder, under another name."""
    for file in sorted(certificate.path.parent.glob("small.*")):
        file.with_name(file.name.replace("small", name, 1)).write_bytes(file.read_bytes())
    return certificate.path.with_name(f"{name}.onnx")


def test_files_that_were_renamed_together_hold_and_their_first_name_is_said(certificate):
    verdict = verify(renamed(certificate, "net.v2"), build=build)
    assert verdict.ok
    assert "ok      file net.v2.onnx" in verdict.lines()[0]
    assert verdict.lines()[0].endswith("certified as small.onnx")


@pytest.mark.parametrize("ending", [".onnx", ".safetensors", ".architecture.json"])
def test_a_changed_copy_is_judged_itself_although_the_certified_file_lies_beside_it(certificate, ending):
    network = renamed(certificate, "evil")
    changed = network.with_suffix(ending)
    changed.write_bytes(changed.read_bytes() + b" ")
    for path in (network, certificate_path(network)):
        verdict = verify(path, build=build)
        assert statuses(verdict)[f"file evil{ending}"] == "failed"
        assert f"is not the file that was certified, small{ending}" in " ".join(verdict.lines())


def test_a_certificate_without_hashes_proves_nothing(certificate, copy):
    data = json.loads(certificate.path.read_text())
    certificate.path.write_text(json.dumps(data | {"files": {}}))
    assert statuses(verify(copy.path))["file small.onnx"] == "failed"


def test_only_files_that_a_certificate_is_about_are_verified(certificate):
    with pytest.raises(InvalidOption, match=r"small[.]bin is neither an exported network"):
        verify(certificate.path.with_name("small.bin"))


def test_a_swapped_network_with_a_doctored_hash_is_noticed(certificate, copy, exported):
    """Whoever changes file and hash together still has to give the recorded outputs."""
    other = copy.supernet.extract(copy.supernet.largest)
    from archsmith.export.onnx_tools.fast_exporter import candidate_onnx
    from archsmith.files import sha256

    copy.path.write_bytes(candidate_onnx(other, (torch.zeros(8, 3, 4, 4),)))
    data = json.loads(certificate.path.read_text())
    data["files"]["small.onnx"] = sha256(copy.path)
    certificate.path.write_text(json.dumps(data))
    found = statuses(verify(certificate.path, build=build))
    assert found["file small.onnx"] == "ok"
    assert found["recorded outputs"] == "failed"
    assert found["rebuilt module"] == "failed"


def test_other_data_is_noticed(certificate):
    verdict = verify(certificate.path, batches={"val": batches(n=39), "test": batches(seed=7, n=20)})
    assert statuses(verdict)["accuracy on val"] == "failed"
    assert "the data differ: 39 inputs" in " ".join(verdict.lines())
    assert statuses(verdict)["accuracy on test"] == "failed"


def test_a_network_that_has_become_slower_is_noticed(certificate):
    slow = FakeDevice(FakeClock(), pace=lambda now, ms: 1.4 if ms < 0.5 else 1.0)
    with Meter(slow, clock=slow.clock, anchor_ms=1.0) as meter:
        verdict = verify(certificate.path, meter=meter)
    assert statuses(verdict)["latency"] == "failed"


def test_a_busy_moment_does_not_refute_a_certificate(certificate, monkeypatch):
    busy = [True]
    device = FakeDevice(FakeClock(), pace=lambda now, ms: 1.4 if busy and ms < 0.5 else 1.0)
    with Meter(device, clock=device.clock, anchor_ms=1.0) as meter:
        measure = meter.measure

        def then_quiet(*args, **options):
            found = measure(*args, **options)
            busy.clear()
            return found

        monkeypatch.setattr(meter, "measure", then_quiet)
        assert statuses(verify(certificate.path, meter=meter))["latency"] == "ok"


def test_a_busier_machine_of_the_same_kind_meets_the_certificate(certificate):
    slow = FakeDevice(FakeClock(), pace=lambda now, ms: 2.0)
    with Meter(slow, clock=slow.clock, anchor_ms=2.0) as meter:
        assert statuses(verify(certificate.path, meter=meter))["latency"] == "ok"


def test_another_machine_is_measured_but_not_judged(certificate):
    other = FakeDevice(FakeClock(), threads=2)
    with Meter(other, clock=other.clock) as meter:
        verdict = verify(certificate.path, meter=meter)
    assert statuses(verdict)["latency"] == "skipped"
    assert "on another machine, runtime or setting" in " ".join(verdict.lines())


def test_another_source_is_noticed(certificate):
    class Other:
        def plan(self, arch):
            return tiny().plan(tiny().smallest)

        def extract(self, arch):
            return nn.Identity()

    verdict = verify(certificate.path, build=lambda source: Other())
    assert statuses(verdict)["rebuilt module"] == "failed"
    assert "another supernet" in " ".join(verdict.lines())


def test_an_unequal_network_is_not_certified(copy, meter):
    spoilt = tiny()
    with torch.no_grad():
        spoilt.model[3].bias += 0.01
    wrong = dataclasses.replace(copy, supernet=spoilt)
    with pytest.raises(InvalidModel, match=r"not certified: on random inputs, active subnet and .* differ by"):
        certify(wrong, batches={}, meter=meter)
    assert not certificate_path(copy.path).exists()


def test_the_supernet_comes_back_in_its_mode(copy, meter):
    copy.supernet.train()
    certify(copy, batches={}, meter=meter)
    assert copy.supernet.training
    copy.supernet.eval()


def test_devices_that_run_modules_only_time_the_module(copy):
    device = FakeDevice(FakeClock())
    device.files = ()
    with Meter(device, clock=device.clock, anchor_ms=1.0) as meter:
        found = certify(copy, batches={}, meter=meter)
        assert found.data["latency"]["of"] == "module"
        assert "latency of the module" in found.line
        assert statuses(verify(found.path, meter=meter))["latency"] == "skipped"


def test_the_file_is_timed_in_its_runtime(copy):
    with Meter(open_device("onnxruntime:batch=8"), anchor_ms=1.0) as meter:
        found = certify(copy, batches={}, meter=meter)
    assert found.data["latency"]["of"] == "file"
    assert found.data["device"]["spec"] == "onnxruntime:threads=1,batch=8"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format="x"), "no certificate of archsmith"),
        (lambda d: d.update(version=3), "has version 3, this archsmith reads 2"),
        (lambda d: d.pop("latency"), "missing required field `latency`"),
    ],
)
def test_a_damaged_certificate_is_named(certificate, change, message):
    data = json.loads(certificate.path.read_text())
    change(data)
    certificate.path.write_text(json.dumps(data))
    with pytest.raises(DamagedFile, match=message):
        verify(certificate.path)


def test_a_part_that_makes_no_sense_is_a_failed_check(certificate):
    data = json.loads(certificate.path.read_text())
    data["outputs"]["samples"]["inputs"][0]["data"] = "<f4:none"
    del data["outputs"]["seed"]
    data["latency"] = {"of": "file"}
    certificate.path.write_text(json.dumps(data))
    device = FakeDevice(FakeClock())
    with Meter(device, clock=device.clock) as meter:
        found = statuses(verify(certificate.path, meter=meter, build=build))
    assert found["recorded outputs"] == found["rebuilt module"] == found["latency"] == "failed"


def test_the_onnx_file_and_its_certificate_are_enough_to_judge_the_file(certificate):
    for other in (".safetensors", ".architecture.json"):
        certificate.network.with_suffix(other).unlink()
    assert statuses(verify(certificate.path))["recorded outputs"] == "ok"
    data = json.loads(certificate.path.read_text())
    [recorded] = data["outputs"]["samples"]["outputs"]
    recorded["data"] = certificate.data["outputs"]["samples"]["inputs"][0]["data"]  # other values, another form
    certificate.path.write_text(json.dumps(data))
    assert statuses(verify(certificate.path))["recorded outputs"] == "failed"


def test_certificates_of_version_1_are_still_verified(certificate, copy):
    data = json.loads(certificate.path.read_text())
    del data["outputs"]["samples"]
    inputs = random_like(resized(INPUTS, data["outputs"]["items"]), data["outputs"]["seed"])
    data["outputs"]["first"] = OnnxFile(copy.path)(*inputs).flatten()[:8].double().tolist()
    certificate.path.write_text(json.dumps({**data, "version": 1}))
    assert statuses(verify(certificate.path))["recorded outputs"] == "ok"
    data["outputs"]["first"][3] += 0.1
    certificate.path.write_text(json.dumps({**data, "version": 1}))
    assert statuses(verify(certificate.path))["recorded outputs"] == "failed"


@pytest.mark.parametrize(
    "x",
    [torch.randn(3, 2, 4), torch.tensor([[2**40, -7]]), torch.tensor([True, False]), torch.randn(2).half()],
    ids=["images", "ids", "mask", "half"],
)
def test_recorded_inputs_come_back_as_the_file_got_them(x):
    again = _tensor(json.loads(json.dumps(_input(x))))
    assert again.dtype == x.dtype
    assert again.shape == x.shape
    if x.is_floating_point():
        assert (again - x.clamp(-4, 127 / STEPS_PER_UNIT)).abs().max() <= 0.5 / STEPS_PER_UNIT
    else:
        assert torch.equal(again, x)


def test_a_missing_certificate_is_named(tmp_path):
    with pytest.raises(DamagedFile, match=r"none[.]certificate[.]json is missing"):
        read_certificate(tmp_path / "none.onnx")


def test_a_file_that_misjudges_a_few_images_more_is_noticed(certificate):
    data = json.loads(certificate.path.read_text())
    data["accuracy"]["val"]["right"] += 3
    certificate.path.write_text(json.dumps(data))
    assert statuses(verify(certificate.path, batches={"val": batches()}))["accuracy on val"] == "failed"
