"""Every strategy keeps the contract of the role."""

from archsmith import method
from archsmith.testing.strategies import StrategyConformance

QUICK = {"linas": {"initial": 6, "population": 12, "generations": 4}}

for _name in method.names("strategy"):
    _title = f"Test{_name.title().replace('_', '')}"
    globals()[_title] = type(_title, (StrategyConformance,), {"name": _name, "options": QUICK.get(_name, {})})
