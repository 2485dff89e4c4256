"""The size of images as a choice, from the search to a certified file that takes small images."""

import json

import numpy as np
import pytest
import torch

import archsmith as smith
from archsmith.export.onnx_tools.onnx_file import OnnxFile
from archsmith.structure.resolution import resized_images

MODULE = """
import torch
from torch import nn
import archsmith as smith

def make(channels=1, classes=10, image_size=(8, 8)):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
                              nn.Conv2d(16, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
                              nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, classes))
    return smith.elastic(model, torch.zeros(2, channels, *image_size), resolution=(4, 6, 8))
"""


@pytest.fixture
def factory(tmp_path, monkeypatch):
    (tmp_path / "network_for_images_of_any_size.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return "network_for_images_of_any_size:make"


def test_from_the_search_to_a_verified_file(factory, archsmith, holds, tmp_path):
    command = ["search", "--data", "digits", "--images", "600", "--model", factory, "--minimize", "macs"]
    command += ["--run", "run", "--epochs", "4", "--budget", "25", "--no-export", "--json"]
    searched = archsmith(*command)
    assert searched.code == 0, searched.err
    front = json.loads(searched.out)["front"]
    sizes = {n["architecture"]["input.resolution"] for n in front}
    assert min(sizes) < 8
    small = next(n for n in front if n["architecture"]["input.resolution"] == min(sizes))
    assert archsmith("export", "run", "--name", small["name"]).code == 0
    path = tmp_path / "run" / "exports" / f"{small['name']}.onnx"
    [images] = OnnxFile(path).example_inputs()
    assert images.shape[-1] == min(sizes)
    checks = holds(archsmith("verify", path, "--json"))
    assert "skipped" not in checks.values()
    certified = json.loads(path.with_suffix(".certificate.json").read_text())
    assert certified["accuracy"]["val"]["top1"] == pytest.approx(small["values"]["accuracy_top1"]["value"])
    member = smith.Run.open("run").front().named(small["name"])
    x = torch.from_numpy(np.random.default_rng(0).random((3, 1, 8, 8), dtype="float32"))
    with torch.no_grad():
        expected = member.module()(resized_images(x, (min(sizes),) * 2))
        torch.testing.assert_close(OnnxFile(path)(resized_images(x, (min(sizes),) * 2)), expected, rtol=1e-4, atol=1e-5)
