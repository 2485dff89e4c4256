"""What a user says about elasticity on the command line: read, checked, kept with the run, applied on rebuilding."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import archsmith as smith
from archsmith.discovery.elasticity import Elasticity
from archsmith.errors import InvalidOption
from archsmith.source.options import OPTION_NAMES, plain_elastic, read_elastic

MODULE = """
from torch import nn
import torch
from archsmith.supernet import Depth

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(16, 16, 3, padding=1)

    def forward(self, x):
        return x + torch.relu(self.conv(x))

class Plain(nn.Sequential):
    def __init__(self, channels=1, classes=10):
        blocks = nn.Sequential(*(Block() for _ in range(3)))
        super().__init__(nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU(), blocks, nn.AdaptiveAvgPool2d(2),
                         nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, classes))

def plain(channels, classes):
    torch.manual_seed(0)
    return Plain(channels, classes)

def with_choices(channels, classes):
    return nn.Sequential(nn.Conv2d(channels, 8, 3), Depth("depth", [nn.Conv2d(8, 8, 3, padding=1) for _ in range(2)],
                         options=(1, 2)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))

def supernet(channels, classes):
    import archsmith as smith
    return smith.elastic(Plain(channels, classes), torch.zeros(2, channels, 8, 8))
"""


@pytest.fixture
def factory(tmp_path, monkeypatch):
    """``factory("plain")`` names a function of a module in the current folder."""
    (tmp_path / "networks_of_these_tests.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return lambda name: f"networks_of_these_tests:{name}"


def elastic(*texts):
    return [part for text in texts for part in ("--elastic", text)]


@pytest.mark.parametrize(
    ("texts", "means"),
    [
        (["width=0.5,0.75,1.0"], {"width": [0.5, 0.75, 1.0]}),
        (["width=0.5,1"], {"width": [0.5, 1.0]}),  # the whole, not one channel
        (["width=1", "resolution=1", "*.depth=1"], {"width": [1.0], "resolution": [1.0], "options": {"*.depth": [1]}}),
        (["width=16,32"], {"width": [16, 32]}),
        (["depth=0.5", "kernel=none"], {"depth": 0.5, "kernel": None}),
        (["freeze=0", "freeze=head,stem"], {"freeze": ["0", "head", "stem"]}),  # modules may be called 0
        (["branches=true", "importance=none", "via=graph"], {"branches": True, "importance": None, "via": "graph"}),
        (["*.heads=2,4", "hidden*=32"], {"options": {"*.heads": [2, 4], "hidden*": [32]}}),
        (["multiple = 4"], {"multiple": 4}),
    ],
)
def test_texts_are_read_as_what_the_option_is(texts, means):
    assert read_elastic(texts) == means


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["widht=0.5"], "did you mean 'width'? It has: width, depth"),
        (["hidden=32"], "'hidden*=32,64'"),
        (["width"], "write NAME=VALUE"),
        (["width="], "write NAME=VALUE"),
        (["width=half"], "sizes (32,64) or shares"),
        (["*.heads=two"], "sizes (32,64) or shares"),
        (["width=1.5"], "0 < share <= 1.0"),
        (["depth=0.5,1.0"], "depth is a number"),
        (["depth=0"], "(0, 1]"),
        (["multiple=8.5"], "a whole number"),
        (["via=graphs"], "auto, modules, graph"),
        (["branches=yes"], "true, false"),
        (["width=0.5", "width=0.75"], "given twice"),
        (["*.heads=2", "*.heads=4"], "given twice"),
    ],
)
def test_what_cannot_be_read_is_named(texts, said):
    with pytest.raises(InvalidOption) as raised:
        read_elastic(texts)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("wrong", [{"width": 0.5}, {"depth": "half"}, {"only": 3}])
def test_wrong_kinds_in_python_are_named(wrong):
    with pytest.raises(InvalidOption):
        plain_elastic(wrong)


sizes = st.lists(st.integers(2, 512), min_size=1, max_size=4) | st.lists(
    st.floats(0.05, 1.0).map(lambda x: round(x, 3)), min_size=1, max_size=4
)
patterns = st.lists(st.from_regex(r"[a-z][a-z0-9_.]{0,8}", fullmatch=True), min_size=1, max_size=3)
values = {
    "width": sizes,
    "resolution": sizes,
    "depth": st.floats(0.01, 1.0),
    "branches": st.booleans(),
    "homogeneous": st.booleans(),
    "kernel": st.none() | st.integers(1, 9),
    "multiple": st.integers(1, 64),
    "only": patterns,
    "freeze": patterns,
    "tie": patterns,
    "importance": st.sampled_from(["l1", None]),
    "via": st.sampled_from(["auto", "modules", "graph"]),
}


@given(st.fixed_dictionaries({}, optional=values), st.dictionaries(st.just("*.heads"), sizes))
def test_text_and_json_keep_what_was_said(said, single):
    """Whatever is written as text is read back, means a valid elasticity, and survives its way through JSON."""

    def text(value):
        return ",".join(map(str, value)) if isinstance(value, list) else str(value)

    wanted = {**said, **({"options": single} if single else {})}
    read = read_elastic([f"{name}={text(value)}" for name, value in {**said, **single}.items()])
    assert read == wanted
    assert json.loads(json.dumps(plain_elastic(read))) == read
    Elasticity(**read)


def test_every_option_can_be_said():
    assert set(values) == set(OPTION_NAMES)


def test_an_account_before_anything_is_trained(factory, archsmith):
    command = ["account", "--data", "digits", "--model", factory("plain")]
    found = json.loads(archsmith(*command, "--json").out)
    all_widths = {name: options for name, options, _ in found["choices"]}
    assert all_widths["5.width"] == "16 24"
    assert "2.depth" in all_widths
    narrow = archsmith(*command, *elastic("5*=6,12", "only=5"), "--json")
    assert json.loads(narrow.out)["choices"] == [["5.width", "6 12 24", ""]]
    told = archsmith(*command, *elastic("freeze=5"), "--explain", "5.width")
    assert "frozen by '5'" in told.out
    assert archsmith(*command, "--explain", "5.widht").code == 2


def test_the_account_of_a_built_in_network(archsmith):
    told = archsmith("account", "--data", "digits", "--model-option", "depths=1,2")
    assert told.code == 0
    assert "choices (" in told.out


def test_from_the_search_to_a_verified_file(factory, tmp_path, archsmith, holds):
    command = ["search", "--data", "digits", "--images", "400", "--model", factory("plain"), "--minimize", "params"]
    command += ["--epochs", "1", "--budget", "4", "--run", "run", "--json", "--no-export"]
    said = elastic("width=0.25,0.5,1", "multiple=4", "freeze=0", "2.depth=1,3")
    done = archsmith(*command, *said)
    assert done.code == 0, done.err
    run = smith.Run.open("run")
    assert run.fixed["model"]["elastic"] == {
        "width": [0.25, 0.5, 1.0],
        "multiple": 4,
        "freeze": ["0"],
        "options": {"2.depth": [1, 3]},
    }
    assert {c.name: c.options for c in run.space.choices} == {
        "2.depth": (1, 3),
        "5.width": (8, 12, 24),
    }
    front = json.loads(done.out)["front"]
    again = archsmith(*command, *said)
    assert json.loads(again.out)["front"] == front
    resumed = archsmith(*command, "--budget", "5", *said)  # not answered from the record: everything is built again
    assert resumed.code == 0, resumed.err
    assert "elastic" in resumed.err
    shown = archsmith("show", "run", "--json")
    assert {n["name"] for n in json.loads(shown.out)["front"]} >= {n["name"] for n in front[:1]}
    assert "0.25, 0.5, 1.0" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert archsmith("export", "run", "--name", front[0]["name"]).code == 0
    checks = holds(archsmith("verify", f"run/exports/{front[0]['name']}.onnx", "--json"))
    assert checks["rebuilt module"] == "ok"


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (["width=0.5,1"], "model.elastic.width: [0.25, 1.0] -> [0.5, 1.0]"),
        (["width=0.25,1", "freeze=0"], 'model.elastic.freeze: null -> ["0"]'),
        ([], 'model.elastic: {"width": [0.25, 1.0]} -> null'),
    ],
)
def test_another_option_for_the_same_run_is_refused(factory, archsmith, other, named):
    command = ["search", "--data", "digits", "--images", "200", "--model", factory("plain"), "--minimize", "params"]
    command += ["--epochs", "1", "--budget", "2", "--run", "run", "--no-export"]
    assert archsmith(*command, *elastic("width=0.25,1")).code == 0
    changed = archsmith(*command, *elastic(*other))
    assert changed.code == 2
    assert named in changed.err
    assert "another --run" in changed.err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("residual_convnet", "residual_convnet is a supernet already"),
        ("supernet", "is a supernet already"),
        ("with_choices", "contains choice modules"),
    ],
)
def test_what_is_elastic_already_takes_no_options(factory, archsmith, name, said):
    model = name if name == "residual_convnet" else factory(name)
    for command in (["account"], ["search", "--run", "run"]):
        refused = archsmith(*command, "--data", "digits", "--model", model, *elastic("width=0.5"))
        assert refused.code == 2
        assert said in refused.err
        assert "width" in refused.err


def test_a_pattern_that_matches_nothing_is_named(factory, archsmith, tmp_path):
    command = ["search", "--data", "digits", "--model", factory("plain"), "--run", "run"]
    refused = archsmith(*command, *elastic("freeze=6.widht"))
    assert refused.code == 2
    assert "'6.widht'" in refused.err
    assert not (tmp_path / "run").exists()


def test_in_python_the_job_takes_the_same(factory, tmp_path):
    job = smith.Job(
        run=tmp_path / "run",
        data="digits",
        images=200,
        model=factory("plain"),
        elastic={"width": (0.5, 1.0), "only": ["5"]},
        minimize=("params",),
        epochs=1,
        budget="2",
        export=False,
    )
    job.execute()
    run = smith.Run.open(tmp_path / "run")
    assert [c.name for c in run.space.choices] == ["5.width"]
    assert run.fixed["model"]["elastic"] == {"width": [0.5, 1.0], "only": ["5"]}
