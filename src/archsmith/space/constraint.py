"""Constraints: expressions over option values, read safely and evaluated for many rows at once."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from archsmith.architecture import Option
from archsmith.errors import InvalidSpace, unknown
from archsmith.forms import reading
from archsmith.space.choice import Choice
from archsmith.space.forest import Columns

Type = Literal["number", "truth", "label"]


class _Written(TypedDict):
    """A constraint as JSON."""

    expression: str


_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.mod,
}
_COMPARISON: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_REDUCTION: Mapping[str, Callable[[Any, Any], Any]] = {"min": np.minimum, "max": np.maximum, "sum": np.add}
_MOST_CHARACTERS = 2000
_MOST_LEVELS = 200  # more would exceed Python's recursion limit later, in the middle of a search
_GREATEST_EXACT = 2.0**53  # whole numbers beyond are not exact in float64
_OPTIONS_SHOWN = 10  # choices whose options a message names
_ALLOWED = "names of choices, numbers, text, + - * / // %, comparisons, in, and, or, not, min, max, sum, active, value"


@dataclass(frozen=True)
class Constraint:
    """A rule inside a search space, as a comparison of option values.

    Numbers, text, ``+ - * / // %``, comparisons (chained too), ``in (...)``, ``and or not``, ``min max sum``,
    ``active(name)``; a choice whose name is no dotted identifier reads ``value("layer1.0.width")``. An inactive
    choice counts as 0. In a space with symmetries the canonical form is judged.

    Args:
        expression: such as ``"stage1.width <= stage2.width"``.

    Raises:
        InvalidSpace: for anything that is not such an expression.

    >>> Constraint("stage1.width<=stage2.width").names
    ('stage1.width', 'stage2.width')
    """

    expression: str

    def __post_init__(self) -> None:
        if not isinstance(self.expression, str) or len(self.expression) > _MOST_CHARACTERS:
            raise InvalidSpace(
                f"a constraint is text of at most {_MOST_CHARACTERS} characters, got {self.expression!r:.80}"
            )
        names: list[str] = []
        try:
            body = _parse(self.expression)
            _check_depth(body, self.expression)
            self._visit(body, names)
            text = ast.unparse(body)
        except RecursionError:
            raise InvalidSpace(f"the constraint {self.expression[:80]!r}... is nested too deeply; split it") from None
        if not names:
            raise InvalidSpace(f"the constraint {self.expression!r} names no choice")
        object.__setattr__(self, "expression", text)

    def _visit(self, node: ast.expr, names: list[str]) -> None:
        """Collect the names; refuse every kind of node that is not known to be harmless."""
        name = _reference(node)
        if name is not None:
            names.append(name)
            return
        for child in _operands(node, self.expression):
            self._visit(child, names)

    @cached_property
    def _body(self) -> ast.expr:
        return _parse(self.expression)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The choices in the expression, in order of appearance."""
        names: list[str] = []
        self._visit(self._body, names)
        return tuple(dict.fromkeys(names))

    def check(self, choices: Mapping[str, Choice]) -> None:
        """Refuse unknown names, text compared with numbers, and comparisons that can never hold.

        Raises:
            UnknownName: with the nearest choice.
            InvalidSpace: for a contradiction in types.
        """
        for name in self.names:
            if name not in choices:
                raise unknown(f"choice of the constraint {self.expression!r}", name, choices)
        if _type(self._body, choices, self.expression) != "truth":
            raise InvalidSpace(f"the constraint {self.expression!r} is a value; compare it with something")

    def holds(self, columns: Columns) -> NDArray[np.bool_]:
        """Which rows meet it, ``(n,)``."""
        with np.errstate(all="ignore"):  # a division by zero is infinite, as in IEEE arithmetic
            return np.asarray(_evaluate(self._body, columns), dtype=bool)

    def to_json(self) -> dict[str, Any]:
        """Plain data; :meth:`from_json` reads it back."""
        return {"expression": self.expression}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Constraint:
        """The inverse of :meth:`to_json`.

        Raises:
            DamagedFile: when ``data`` has another form.
        """
        with reading("a constraint", data, _Written):
            return cls(data["expression"])


def _check_depth(body: ast.expr, text: str) -> None:
    """Refuse an expression that is nested too deeply for recursive functions."""
    level: list[ast.AST] = [body]
    for _ in range(_MOST_LEVELS):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return
    raise InvalidSpace(
        f"the constraint {text[:80]!r}... is nested too deeply; split it, or write sum(a, b, ...) for long sums"
    )


def _parse(text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise InvalidSpace(
            f"cannot read the constraint {text!r} ({error}); it may hold {_ALLOWED}, "
            'and value("...") around names that are no identifiers'
        ) from None


def _reference(node: ast.expr) -> str | None:
    """The choice a node names: ``a.b.c``, ``value("a.0.c")`` or ``active(a.b)``; ``None`` for other nodes."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("active", "value"):
        if len(node.args) != 1 or node.keywords:
            raise InvalidSpace(f"{node.func.id}(...) takes the name of one choice, got {ast.unparse(node)!r}")
        argument = node.args[0]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            return argument.value
        return _dotted(argument)
    return _dotted(node)


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (start := _dotted(node.value)) is not None:
        return f"{start}.{node.attr}"
    return None


def _operands(node: ast.expr, text: str) -> list[ast.expr]:  # noqa: PLR0911 - one return a kind of node
    """The expressions below a node of an allowed kind."""
    match node:
        case ast.Constant(value=str()):
            return []
        case ast.Constant(value=int() | float() as number) if abs(number) <= _GREATEST_EXACT:
            return []
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return [left, right]
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd(), operand=operand):
            return [operand]
        case ast.BoolOp(values=values):
            return values
        case ast.Compare(left=left, ops=[ast.In() | ast.NotIn()], comparators=[ast.Tuple(elts=e) | ast.List(elts=e)]):
            return [left, *e]
        case ast.Compare(left=left, ops=ops, comparators=rest) if all(type(op) in _COMPARISON for op in ops):
            return [left, *rest]
        case ast.Call(func=ast.Name(id=name), args=[_, *_] as arguments, keywords=[]) if name in _REDUCTION:
            return arguments
    raise InvalidSpace(f"{ast.unparse(node)!r} is not allowed in the constraint {text!r}; it may hold {_ALLOWED}")


def _type(node: ast.expr, choices: Mapping[str, Choice], text: str) -> Type:
    """The type of an expression whose names are known."""
    name = _reference(node)
    if name is not None:
        if _is_active(node):
            return "truth"
        if choices[name].kind == "subset":
            raise InvalidSpace(f"{name!r} is a subset, which the constraint {text!r} cannot compare; use active(...)")
        return "number" if choices[name].numeric else "label"
    if isinstance(node, ast.Constant):
        return "label" if isinstance(node.value, str) else "number"
    operands = _operands(node, text)
    types = {_type(child, choices, text) for child in operands}
    if isinstance(node, ast.Compare):
        if "label" in types:
            _check_labels(node, operands, types, choices, text)
        return "truth"
    if "label" in types:
        raise InvalidSpace(f"text cannot be used in {ast.unparse(node)!r}; it can only be compared with == != in")
    return "truth" if isinstance(node, ast.BoolOp) or isinstance(getattr(node, "op", None), ast.Not) else "number"


def _check_labels(
    node: ast.Compare, operands: list[ast.expr], types: set[Type], choices: Mapping[str, Choice], text: str
) -> None:
    if not all(isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for op in node.ops):
        raise InvalidSpace(f"text has no order: {ast.unparse(node)!r} in the constraint {text!r}; use == != in")
    names = [name for o in operands if (name := _reference(o)) is not None and not _is_active(o)]
    named = [choices[name] for name in dict.fromkeys(names)]
    for operand in operands:
        if isinstance(operand, ast.Constant) and all(choice.index(operand.value) is None for choice in named):
            known: list[Option] = [option for choice in named[:_OPTIONS_SHOWN] for option in choice.options]
            raise unknown(f"option in {ast.unparse(node)!r}", str(operand.value), map(str, known))
    numbers = [n for n in names if choices[n].numeric]
    if numbers or types - {"label", "number"}:
        raise InvalidSpace(f"{ast.unparse(node)!r} in the constraint {text!r} compares text with a number")


def _is_active(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "active"


def _evaluate(node: ast.expr, columns: Columns) -> Any:  # noqa: PLR0911 - one return a kind of node
    """The value of an expression that has been checked, for all rows."""
    name = _reference(node)
    if name is not None:
        return columns.active(name) if _is_active(node) else columns.value(name)
    match node:
        case ast.Constant(value=value):
            return value
        case ast.BinOp(left=left, op=op, right=right):
            # float64 is exact for whole numbers up to 2**53, and minus is not defined for truth values
            return _ARITHMETIC[type(op)](_number(left, columns), _number(right, columns))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return ~_truth(operand, columns)
        case ast.UnaryOp(op=op, operand=operand):
            return _number(operand, columns) * (-1.0 if isinstance(op, ast.USub) else 1.0)
        case ast.BoolOp(op=op, values=values):
            join = np.logical_and if isinstance(op, ast.And) else np.logical_or
            return reduce(join, (_truth(v, columns) for v in values))
        case ast.Compare():
            return _compare(node, columns)
        case ast.Call(func=ast.Name(id=function), args=arguments):
            return reduce(_REDUCTION[function], (_number(a, columns) for a in arguments))
    raise InvalidSpace(f"cannot evaluate {ast.unparse(node)!r}")


def _compare(node: ast.Compare, columns: Columns) -> Any:
    left = _evaluate(node.left, columns)
    if isinstance(node.ops[0], ast.In | ast.NotIn):
        members = _operands(node, "")[1:]
        found = reduce(np.logical_or, (_equal(left, _evaluate(m, columns)) for m in members), np.False_)
        return found if isinstance(node.ops[0], ast.In) else ~found
    result: Any = np.True_
    for op, comparator in zip(node.ops, node.comparators, strict=True):
        right = _evaluate(comparator, columns)
        result = result & np.asarray(_COMPARISON[type(op)](left, right), dtype=bool)
        left = right
    return result


def _equal(left: Any, right: Any) -> Any:
    return np.asarray(left == right, dtype=bool)


def _number(node: ast.expr, columns: Columns) -> Any:
    return np.asarray(_evaluate(node, columns), dtype=np.float64)


def _truth(node: ast.expr, columns: Columns) -> Any:
    return np.asarray(_evaluate(node, columns), dtype=bool)
