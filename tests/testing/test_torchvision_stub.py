"""torchvision can be imported once its missing operators are defined, in a process of its own."""

import subprocess
import sys

import pytest

CODE = """
import torch
from archsmith.testing.torchvision_stub import define_torchvision_operators
defined = define_torchvision_operators()
import torchvision
again = define_torchvision_operators()
model = torchvision.models.get_model("mobilenet_v3_small", weights=None, num_classes=3)
print(len(defined), len(again), tuple(model(torch.zeros(2, 3, 32, 32)).shape), torchvision.extension._has_ops())
"""


@pytest.mark.slow
def test_torchvision_imports_and_its_models_run():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    defined, again, *shape, has_operators = done.stdout.split()
    assert (again, " ".join(shape)) == ("0", "(2, 3)")
    assert defined == ("0" if has_operators == "True" else "2")
