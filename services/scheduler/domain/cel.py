"""CEL as `celpy` evaluates it, at a cost that is counted. It is slow to load, and few need it.

Steps are counted and not seconds, so that an expression has the same value on a busy machine.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import lark
import re2
from celpy import Environment, InterpretedRunner, Runner
from celpy.adapter import json_to_cel
from celpy.celparser import CELParseError
from celpy.celtypes import BoolType
from celpy.evaluation import Activation, CELEvalError, Context, Evaluator

EVALUATION_MAX_STEPS = 10_000
# Of a pattern, compiled: a short one can repeat much, and half a second goes by over it.
PATTERN_MAX_BYTES = 64 * 1024
# A short one takes 25 KiB and half a millisecond to make again; the largest, 1.6 MiB.
_CACHED_PROGRAMS = 32

__all__ = [
    "EVALUATION_MAX_STEPS",
    "BoolType",
    "CELEvalError",
    "CELParseError",
    "TooCostlyError",
    "Tree",
    "compile_source",
    "evaluate",
    "program",
    "values",
]

Tree = lark.Tree[Any]


_PATTERN_OPTIONS = re2.Options()
_PATTERN_OPTIONS.max_mem = PATTERN_MAX_BYTES
# Patterns are what a stranger wrote.
_PATTERN_OPTIONS.log_errors = False


class TooCostlyError(Exception):
    """An evaluation took more than EVALUATION_MAX_STEPS."""


class _Meter:
    """Counts the steps of one evaluation."""

    def __init__(self) -> None:
        self._steps = 0

    def count(self, steps: int = 1) -> None:
        self._steps += steps
        if self._steps > EVALUATION_MAX_STEPS:
            raise TooCostlyError


class _MeteredEvaluator(Evaluator):
    """Counts each node that it visits, those that macros visit for each element included, and each
    element of a list that one gives.
    """

    def __init__(self, ast: Tree, activation: Activation, meter: _Meter) -> None:
        super().__init__(ast, activation)
        self._meter = meter

    def sub_evaluator(self, ast: Tree) -> Evaluator:
        return _MeteredEvaluator(ast, self.activation, self._meter)

    def _visit_tree(self, tree: Tree) -> Any:  # noqa: ANN401 - a value of CEL
        self._meter.count()
        value = super()._visit_tree(tree)
        if isinstance(value, list):
            # Whatever is done with it takes so much longer.
            self._meter.count(len(value))
        return value


def _matches(text: str, pattern: str) -> BoolType | CELEvalError:
    """Whether a pattern is found in a text, as the library does it, but for patterns of any size."""
    try:
        return BoolType(re2.search(pattern, text, _PATTERN_OPTIONS) is not None)
    except re2.error as error:
        return CELEvalError("match error", error.__class__, error.args)


class _MeteredRunner(InterpretedRunner):
    def evaluate(self, context: Context) -> Any:  # noqa: ANN401 - a value of CEL
        return _MeteredEvaluator(self.ast, self.new_activation(), _Meter()).evaluate(context)


def values(data: Mapping[str, Any]) -> Any:  # noqa: ANN401 - values of CEL by name
    """Plain data as CEL has it."""
    return json_to_cel(dict(data))


def compile_source(source: str) -> Tree:
    """The parts of an expression. Raises CELParseError or RecursionError."""
    return Environment(runner_class=_MeteredRunner).compile(source)


def evaluate(tree: Tree, variables: Any) -> Any:  # noqa: ANN401 - values of CEL
    """The value of a part. Raises CELEvalError, TooCostlyError, or whatever it stumbles on."""
    return _runner(tree).evaluate(variables)


@lru_cache(maxsize=_CACHED_PROGRAMS)
def program(source: str) -> Runner:
    """An expression, ready to be evaluated again and again."""
    return _runner(compile_source(source))


def _runner(tree: Tree) -> Runner:
    return Environment(runner_class=_MeteredRunner).program(tree, {"matches": _matches})
