"""Networks from the user's own functions."""

import sys

import pytest
from torch import nn

from archsmith.errors import InvalidModel, InvalidOption, UnknownName, UserError
from archsmith.models.factory import Factory

MODULE = """
from torch import nn
from archsmith.errors import InvalidData
def linear(classes, *, channels=1, width=4): return nn.Linear(channels * width, classes)
def sized(image_size): return nn.Flatten(*image_size)
class Own(nn.Linear):
    def __init__(self, classes): super().__init__(3, classes)
def anything(**settings): return nn.Linear(settings["a"], 1)
def number(): return 5
def fails(classes): return nn.Linear(-classes, 1)
def needs(classes, depth): return nn.Identity()
def refuses(): raise InvalidData("own words")
value = 3
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    (tmp_path / "my_models.py").write_text(MODULE)
    (tmp_path / "my_broken_models.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("my_models", None)


def build(name, **options):
    return Factory().build(f"my_models:{name}", channels=2, classes=10, image_size=[8, 9], **options)


def test_called_with_what_its_signature_has():
    model = build("linear")
    assert (model.in_features, model.out_features) == (8, 10)
    assert build("linear", width=6).in_features == 12
    assert (build("sized").start_dim, build("sized").end_dim) == (8, 9)


def test_classes_and_open_signatures():
    assert build("Own").out_features == 10
    assert build("anything", a=7).in_features == 7


def test_found_in_the_current_folder_only_while_building():
    before = list(sys.path)
    assert isinstance(build("linear"), nn.Linear)
    assert sys.path == before


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("number", InvalidModel, "returned a int; it must return a network"),
        ("fails", InvalidModel, r"fails\(classes=10\) failed with RuntimeError"),
        ("needs", InvalidModel, "needs depth, which nothing gives"),
        ("value", InvalidModel, "is a int, not a function"),
        ("refuses", UserError, "own words"),
        ("linea", UnknownName, "no model in 'my_models' is called 'linea'; did you mean 'linear'"),
        ("linear.deep", UnknownName, "is called 'deep'"),
    ],
)
def test_refused(name, kind, message):
    with pytest.raises(kind, match=message):
        build(name)


def test_unknown_option():
    with pytest.raises(InvalidOption, match="no option depth; it has: classes, channels, width"):
        build("linear", depth=3)


def test_module_missing_or_broken():
    with pytest.raises(UnknownName, match="cannot find the module of the model"):
        Factory().build("no_such_models:linear")
    with pytest.raises(UserError, match="importing the model 'my_broken_models:x' fails with ZeroDivisionError"):
        Factory().build("my_broken_models:x")


@pytest.mark.parametrize("spec", ["resnet18", "a:b:c", "../x.py:make", ":make"])
def test_other_names_are_not_its_own(spec):
    assert not Factory.recognises(spec)
    with pytest.raises(InvalidModel, match="module:factory"):
        Factory().build(spec)
