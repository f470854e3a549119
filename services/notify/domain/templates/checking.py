"""What may stand in a template, judged before it is ever rendered. Pure.

Templates are written in a part of Jinja2: texts, variables of the kind, a few filters, conditions,
and loops over the rows of the kind or of a row. There are no calls, macros, assignments, includes,
arithmetic or loops over anything else, so that no template runs longer than its facts are long.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

from jinja2 import TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from services.notify.domain.templates.variables import Type, Variable
from services.runtime.text import visibility_rule

TEMPLATE_MAX_CHARACTERS = 4000
LOOPS_MAX = 10
# Of conditions, loops and operators. Jinja2 takes a time to compile that doubles with each.
NESTING_MAX = 12
_PLURAL_FORMS = frozenset({"zero", "one", "two", "few", "many", "other"})
_LOOP_FLAGS = frozenset({"first", "last"})


class Reason(StrEnum):
    """Why a template is refused."""

    SYNTAX = "TEMPLATE_SYNTAX_INVALID"
    VARIABLE_UNKNOWN = "TEMPLATE_VARIABLE_UNKNOWN"
    ELEMENT_NOT_ALLOWED = "TEMPLATE_ELEMENT_NOT_ALLOWED"
    OUTPUT_TOO_LONG = "TEMPLATE_OUTPUT_TOO_LONG"
    SEGMENTS_TOO_MANY = "TEMPLATE_SEGMENTS_TOO_MANY"
    OUTPUT_EMPTY = "TEMPLATE_OUTPUT_EMPTY"
    SUBJECT_MISPLACED = "TEMPLATE_SUBJECT_MISPLACED"


class Problem(NamedTuple):
    """A rule that a template breaks, in words."""

    reason: Reason
    message: str


# Filter -> what it takes. `plural` has arguments of its own.
FILTERS: Mapping[str, frozenset[Type]] = {
    "date": frozenset({Type.MOMENT, Type.DAY}),
    "day": frozenset({Type.MOMENT, Type.DAY}),
    "month": frozenset({Type.MOMENT, Type.DAY}),
    "time": frozenset({Type.MOMENT}),
    "percent": frozenset({Type.NUMBER}),
    "plural": frozenset({Type.NUMBER}),
    "upper": frozenset({Type.TEXT, Type.TEXTS, Type.REASONS, Type.MOMENT, Type.DAY}),
}
_COMPARED = frozenset({"eq", "ne", "gt", "gteq", "lt", "lteq", "in", "notin"})
_ORDERED = frozenset({"gt", "gteq", "lt", "lteq"})
_PLAIN_NODES = (nodes.Not, nodes.And, nodes.Or, nodes.CondExpr, nodes.If, nodes.Output)

Scope = Mapping[str, Variable]


def problems(
    source: str, scope: Scope, environment: ImmutableSandboxedEnvironment
) -> Iterator[Problem]:
    """The rules that a template breaks, each with its line."""
    try:
        tree = environment.parse(source)
    except TemplateSyntaxError as error:
        yield Problem(Reason.SYNTAX, f"line {error.lineno}: {error.message}")
        return
    except RecursionError:
        yield Problem(Reason.ELEMENT_NOT_ALLOWED, "is nested too deeply")
        return
    if _is_deeper(tree, NESTING_MAX):
        message = f"is nested more than {NESTING_MAX} deep"
        yield Problem(Reason.ELEMENT_NOT_ALLOWED, message)
        return
    if len(list(tree.find_all(nodes.For))) > LOOPS_MAX:
        yield Problem(Reason.ELEMENT_NOT_ALLOWED, f"has more than {LOOPS_MAX} loops")
    yield from _all(tree.body, scope, ())


def _is_deeper(node: nodes.Node, most: int) -> bool:
    """Whether nodes are nested more deeply than that."""
    if most < 0:
        return True
    return any(_is_deeper(child, most - 1) for child in node.iter_child_nodes())


def _all(body: list[nodes.Node], scope: Scope, rows: tuple[str, ...]) -> Iterator[Problem]:
    for node in body:
        yield from _node(node, scope, rows)


def _node(node: nodes.Node, scope: Scope, rows: tuple[str, ...]) -> Iterator[Problem]:
    match node:
        case nodes.TemplateData():
            pass
        case nodes.Const():
            yield from _const(node)
        case nodes.Name() | nodes.Getattr():
            yield from _variable(node, scope)
        case nodes.Filter():
            yield from _filter(node, scope, rows)
        case nodes.Compare():
            yield from _compare(node, scope, rows)
        case nodes.For():
            yield from _loop(node, scope, rows)
        case nodes.Output():
            yield from _output(node, scope, rows)
        case _ if isinstance(node, _PLAIN_NODES):
            yield from _all(list(node.iter_child_nodes()), scope, rows)
        case _:
            yield _not_allowed(node, type(node).__name__.lower())


def _output(node: nodes.Output, scope: Scope, rows: tuple[str, ...]) -> Iterator[Problem]:
    for shown in node.nodes:
        yield from _node(shown, scope, rows)
        named = shown.node if isinstance(shown, nodes.Filter) else shown
        variable = _found(named, scope) if isinstance(named, nodes.Node) else None
        if variable and variable.type in {Type.ROWS, Type.RECORD, Type.FLAG}:
            yield _not_allowed(
                shown,
                f"{_path(named)!r} as a text: it is a {variable.type} to ask or to go through",
            )


def _const(node: nodes.Const) -> Iterator[Problem]:
    if isinstance(node.value, str):
        for rule in visibility_rule(node.value, lines=True):
            yield Problem(Reason.ELEMENT_NOT_ALLOWED, f"line {node.lineno}: {rule}")
    elif not isinstance(node.value, int):
        yield _not_allowed(node, f"{node.value!r}")


def _variable(node: nodes.Expr, scope: Scope) -> Iterator[Problem]:
    if _is_loop_flag(node, scope) or _found(node, scope) is not None:
        return
    message = f"line {node.lineno}: has no variable {_path(node)!r}; it has {_names(scope)}"
    yield Problem(Reason.VARIABLE_UNKNOWN, message)


def _is_loop_flag(node: nodes.Node, scope: Scope) -> bool:
    return (
        isinstance(node, nodes.Getattr)
        and isinstance(node.node, nodes.Name)
        and node.node.name == "loop"
        and node.attr in _LOOP_FLAGS
        and any(name.startswith("loop ") for name in scope)
    )


def _found(node: nodes.Node | None, scope: Scope) -> Variable | None:
    """The variable that a node names."""
    if isinstance(node, nodes.Name):
        return scope.get(node.name)
    if isinstance(node, nodes.Getattr):
        owner = _found(node.node, scope)
        if owner is not None and owner.type is Type.RECORD:
            return owner.columns.get(node.attr)
    return None


def _path(node: nodes.Node | None) -> str:
    if isinstance(node, nodes.Getattr):
        return f"{_path(node.node)}.{node.attr}"
    return node.name if isinstance(node, nodes.Name) else "it"


def _filter(node: nodes.Filter, scope: Scope, rows: tuple[str, ...]) -> Iterator[Problem]:
    taken = FILTERS.get(node.name)
    if taken is None or node.node is None:
        yield _not_allowed(node, f"the filter {node.name!r}; there are {', '.join(FILTERS)}")
        return
    yield from _node(node.node, scope, rows)
    variable = _found(node.node, scope)
    if variable is None or variable.type not in taken:
        if variable is not None or not isinstance(node.node, nodes.Name | nodes.Getattr):
            kinds = " or a ".join(sorted(taken))
            yield _not_allowed(node, f"{node.name!r} of anything but a {kinds}")
        return
    forms = {argument.key: argument.value for argument in node.kwargs}
    has_others = bool(node.args or node.dyn_args or node.dyn_kwargs)
    if node.name != "plural":
        if forms or has_others:
            yield _not_allowed(node, f"arguments of {node.name!r}")
    elif has_others or "other" not in forms or not forms.keys() <= _PLURAL_FORMS:
        message = 'write the forms of a plural as plural(one="# order", other="# orders")'
        yield Problem(Reason.ELEMENT_NOT_ALLOWED, f"line {node.lineno}: {message}")
    else:
        for form in forms.values():
            if isinstance(form, nodes.Const) and isinstance(form.value, str):
                yield from _const(form)
            else:
                yield _not_allowed(node, "a form of a plural that is not a text")


def _compare(node: nodes.Compare, scope: Scope, rows: tuple[str, ...]) -> Iterator[Problem]:
    yield from _node(node.expr, scope, rows)
    for operand in node.ops:
        yield from _node(operand.expr, scope, rows)
        if operand.op not in _COMPARED:
            yield _not_allowed(node, f"the operator {operand.op!r}")
        elif operand.op in _ORDERED:
            for side in (node.expr, operand.expr):
                variable = _found(side, scope)
                is_number = isinstance(side, nodes.Const) and isinstance(side.value, int)
                if not is_number and (variable is None or variable.type is not Type.NUMBER):
                    yield _not_allowed(node, "an order of anything but numbers")
        elif operand.op in {"in", "notin"}:
            variable = _found(operand.expr, scope)
            if variable is None or variable.type not in {Type.TEXTS, Type.REASONS}:
                yield _not_allowed(node, '"in" of anything but texts or reasons')


def _loop(node: nodes.For, scope: Scope, rows: tuple[str, ...]) -> Iterator[Problem]:
    target, over = node.target, node.iter
    variable = _found(over, scope)
    if not isinstance(target, nodes.Name) or node.recursive or node.test is not None:
        yield _not_allowed(node, "a loop with anything but `for row in rows`")
        return
    if variable is None and isinstance(over, nodes.Name | nodes.Getattr):
        yield from _variable(over, scope)
        return
    within = isinstance(over, nodes.Getattr) and _path(over.node) in rows
    if variable is None or variable.type is not Type.ROWS or (rows and not within):
        yield _not_allowed(node, "a loop over anything but rows, or within a loop but over its own")
        return
    inner = {
        **scope,
        target.name: Variable(Type.RECORD, variable.columns),
        f"loop {target.name}": Variable(Type.FLAG, {}),
    }
    yield from _all(node.body, inner, (*rows, target.name))
    yield from _all(node.else_, scope, rows)


def _not_allowed(node: nodes.Node, what: str) -> Problem:
    return Problem(Reason.ELEMENT_NOT_ALLOWED, f"line {node.lineno}: must not have {what}")


def _names(scope: Scope) -> str:
    return ", ".join(sorted(name for name in scope if not name.startswith("loop ")))
