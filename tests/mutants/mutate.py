"""What can be taken away from a module, one check at a time: pure, from its text to its mutants."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

_OTHERWISE: dict[type[ast.cmpop], tuple[str, ...]] = {
    ast.Lt: ("<=", ">="),
    ast.LtE: ("<", ">"),
    ast.Gt: (">=", "<="),
    ast.GtE: (">", "<"),
    ast.Eq: ("!=",),
    ast.NotEq: ("==",),
    ast.In: ("not in",),
    ast.NotIn: ("in",),
    ast.Is: ("is not",),
    ast.IsNot: ("is",),
}
"""What stands in place of a comparison: the limit shifted by one where there is one, then the opposite."""

_SHOWN = 90


@dataclass(frozen=True)
class Mutant:
    """A module with one thing changed. `id` names it by what it does and not by its line, so that it stays the same."""

    id: str
    line: int
    text: str


def mutants(path: str, text: str) -> list[Mutant]:
    """Give every mutant of the module `text` at `path`; their ids differ."""
    found: list[Mutant] = []
    seen: dict[str, int] = {}
    for function, node, after in _changes(ast.parse(text), ""):
        changed = _replaced(text, node, after)
        id_ = f"{path}::{function}: {_short(ast.unparse(node))} -> {_short(after)}"
        seen[id_] = seen.get(id_, 0) + 1
        if seen[id_] > 1:
            id_ = f"{id_} #{seen[id_]}"
        found.append(Mutant(id_, node.lineno, changed))
    return found


def _changes(tree: ast.AST, function: str) -> Iterator[tuple[str, ast.stmt | ast.expr, str]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _changes(node, f"{function}.{node.name}".lstrip("."))
            continue
        if isinstance(node, ast.stmt | ast.expr):
            for after in _instead(node):
                yield function, node, after
        if isinstance(node, ast.If):
            yield function, node.test, "False"
        yield from _changes(node, function)


def _instead(node: ast.stmt | ast.expr) -> Iterator[str]:
    match node:
        case ast.Raise() | ast.Expr(value=ast.Call() | ast.Await(value=ast.Call())):
            yield "pass"
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            for other in _OTHERWISE[type(op)]:
                yield f"({ast.unparse(left)} {other} {ast.unparse(right)})"
        case ast.BoolOp(op=op, values=values):
            word = " and " if isinstance(op, ast.And) else " or "
            for place in range(len(values)):
                rest = [value for at, value in enumerate(values) if at != place]
                yield f"({word.join(f'({ast.unparse(value)})' if rest[1:] else ast.unparse(value) for value in rest)})"
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if name.isupper() and _is_number(value):
            yield f"{name} = ({ast.unparse(value)}) + 1"
        case _:
            return


def _is_number(value: ast.expr) -> bool:
    match value:
        case ast.Constant(value=int() | float() as number):
            return not isinstance(number, bool)
        case ast.BinOp(left=left, right=right):
            return _is_number(left) and _is_number(right)
        case _:
            return False


def _replaced(text: str, node: ast.stmt | ast.expr, after: str) -> str:
    """Put `after` where `node` stands; positions of the parser count bytes within a line."""
    lines = text.encode().splitlines(keepends=True)
    if node.end_lineno is None or node.end_col_offset is None:
        message = "the parser gives no end"
        raise ValueError(message)
    begin = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    end = sum(map(len, lines[: node.end_lineno - 1])) + node.end_col_offset
    whole = b"".join(lines)
    return (whole[:begin] + after.encode() + whole[end:]).decode()


def _short(code: str) -> str:
    line = " ".join(code.split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
