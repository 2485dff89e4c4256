"""Every strategy keeps the contract of the role."""

from importlib.util import find_spec

import pytest

from archsmith import method
from archsmith.testing.strategies import StrategyConformance, StrategyCoreConformance, asked_elsewhere, trajectory

QUICK = {
    "epnas": {"predictor": "ridge", "pool": 60},
    "linas": {"initial": 6, "population": 12, "generations": 4},
    "nas_bowl": {"initial": 6, "pool": 40},
    "neural_predictor": {"initial": 6, "top": 4, "pool": 60, "predictor": "ridge"},
    "qlognehvi": {"initial": 18, "pool": 20, "samples": 4},
    "weaknas": {"initial": 6, "picks": 4, "pool": 60, "predictor": "ridge"},
}

NEEDS = {"moead": "pymoo", "nsga3": "pymoo", "qlognehvi": "botorch", "sms_emoa": "pymoo", "tpe": "optuna"}
SLOW = {"qlognehvi"}


def made(title, suite, name):
    """A suite for one strategy, with the marks that this asks for."""
    suite = type(title, (suite,), {"name": name, "options": QUICK.get(name, {})})
    package = NEEDS.get(name)
    if package and find_spec(package) is None:
        suite = pytest.mark.skip(reason=f"{package} is not installed")(suite)
    return pytest.mark.slow(suite) if name in SLOW else suite


for _name in method.names("strategy"):
    _title = f"Test{_name.title().replace('_', '')}"
    globals()[_title] = made(_title, StrategyCoreConformance, _name)
    _full = made(f"{_title}InFull", StrategyConformance, _name)
    globals()[f"{_title}InFull"] = pytest.mark.full(method.load("strategy", _name).__module__)(_full)
del _full  # pytest would collect the last one twice


def test_trouble_in_the_other_process_is_told_and_it_goes_on():
    with pytest.raises(RuntimeError, match="did you mean 'linas'"):
        asked_elsewhere("linus", 3, 5, {})
    assert asked_elsewhere("random", 3, 5, {}) == trajectory("random", 3, 5)
