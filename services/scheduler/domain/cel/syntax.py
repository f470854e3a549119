"""The parser: from the text of an expression to a tree.

The grammar is that of the language definition (https://github.com/google/cel-spec, doc/langdef.md) but
for what conditions have no use for: bytes, unsigned numbers, messages and triple-quoted strings.
A tree costs a fraction of a millisecond, since a merchant may have as many expressions as orders.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

# Of parentheses and the like in each other, and of the levels of the tree that they become.
DEPTH_MAX = 32
INT_MIN, INT_MAX = -(2**63), 2**63 - 1

_TOKEN = re.compile(
    r"""
    (?P<space>[\t\n\f\r ]+|//[^\n]*)
  | (?P<float>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)
  | (?P<int>0x[0-9a-fA-F]+|\d+)
  | (?P<raw>[rR](?:"[^"\r\n]*"|'[^'\r\n]*'))
  | (?P<name>[_a-zA-Z][_a-zA-Z0-9]*)
  | (?P<text>"(?:[^"\\\r\n]|\\.)*"|'(?:[^'\\\r\n]|\\.)*')
  | (?P<sign>&&|\|\||[<>=!]=|[-+*/%<>!?:.,()\[\]{}])
    """,
    re.VERBOSE | re.ASCII,
)
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\?\"'`])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.?))",
    re.DOTALL,
)
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_CONSTANTS = {"true": True, "false": False, "null": None}
# As the language definition has them; `in` is an operator.
_RESERVED = frozenset({
    "as", "break", "const", "continue", "else", "for", "function", "if", "import", "in", "let",
    "loop", "package", "namespace", "return", "var", "void", "while",
})  # fmt: skip
_MACROS = frozenset({"all", "exists", "exists_one", "map", "filter"})
_SURROGATES = range(0xD800, 0xE000)
_COMPARISONS = frozenset({"<", "<=", ">", ">=", "==", "!=", "in"})
_SUMS = frozenset({"+", "-"})
_PRODUCTS = frozenset({"*", "/", "%"})


class ParseError(Exception):
    """A text that is no expression; the message says why, after "it"."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the tree of an expression.

    Kinds: `literal` (value), `name` (value), `list`, `map` (keys and values in turn), `select` (value
    is the field), `index`, `call` (value is the function), `method` (value; the first argument is what
    it is called on), `chain` (value is the operators between the arguments), `and`, `or`, `if`, `not`,
    `minus`.
    """

    kind: str
    value: Any = None
    args: "tuple[Node, ...]" = ()

    @property
    def is_macro(self) -> bool:
        """Whether the last arguments are evaluated once for each element of the first."""
        return self.kind == "method" and self.value in _MACROS


def parse(source: str) -> Node:
    """The tree of an expression. Raises ParseError."""
    return _Parser(source).whole()


class _Parser:
    def __init__(self, source: str) -> None:
        # (kind, text, offset), and an end that no rule takes.
        self._tokens = [*_tokens(source), ("end", "", len(source))]
        self._at = 0
        self._depth = 0

    def whole(self) -> Node:
        node = self._expression()
        if self._tokens[self._at][0] != "end":
            raise self._error()
        _need_shallow(node)
        return node

    def _error(self) -> ParseError:
        return ParseError(f"does not parse, near column {self._tokens[self._at][2] + 1}")

    def _take(self, *signs: str) -> str:
        """The next token if it is one of these; else nothing is taken."""
        kind, token, _ = self._tokens[self._at]
        if kind in {"sign", "name"} and token in signs:
            self._at += 1
            return token
        return ""

    def _need(self, sign: str) -> None:
        if not self._take(sign):
            raise self._error()

    def _expression(self) -> Node:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise ParseError("is nested too deeply")
        node = self._of_many("or", "||", lambda: self._of_many("and", "&&", self._comparison))
        if self._take("?"):
            first = self._of_many("or", "||", lambda: self._of_many("and", "&&", self._comparison))
            self._need(":")
            node = Node("if", None, (node, first, self._expression()))
        self._depth -= 1
        return node

    def _of_many(self, kind: str, sign: str, operand: Callable[[], Node]) -> Node:
        operands = [operand()]
        while self._take(sign):
            operands.append(operand())
        return operands[0] if len(operands) == 1 else Node(kind, None, tuple(operands))

    def _comparison(self) -> Node:
        return self._chain(
            _COMPARISONS, lambda: self._chain(_SUMS, lambda: self._chain(_PRODUCTS, self._unary))
        )

    def _chain(self, signs: frozenset[str], operand: Callable[[], Node]) -> Node:
        operands, between = [operand()], []
        while sign := self._take(*signs):
            between.append(sign)
            operands.append(operand())
        if not between:
            return operands[0]
        return Node("chain", tuple(between), tuple(operands))

    def _unary(self) -> Node:
        signs = []
        while sign := self._take("!", "-"):
            signs.append(sign)
        if len(set(signs)) > 1:
            raise self._error()
        kind, token, _ = self._tokens[self._at]
        if signs and signs[-1] == "-" and kind in {"int", "float"}:
            # The least whole number has no positive counterpart.
            signs.pop()
            self._at += 1
            node = self._postfix(_number(kind, f"-{token}"))
        else:
            node = self._postfix(self._primary())
        for sign in reversed(signs):
            node = Node("not" if sign == "!" else "minus", None, (node,))
        return node

    def _postfix(self, node: Node) -> Node:
        while sign := self._take(".", "["):
            if sign == "[":
                node = Node("index", None, (node, self._expression()))
                self._need("]")
                continue
            name = self._name()
            if self._take("("):
                node = Node("method", name, (node, *self._arguments(")")))
            else:
                node = Node("select", name, (node,))
        return node

    def _name(self) -> str:
        kind, token, _ = self._tokens[self._at]
        if kind != "name" or token in _RESERVED:
            raise self._error()
        self._at += 1
        return token

    def _primary(self) -> Node:
        if (literal := self._literal()) is not None:
            return literal
        if self._take("("):
            node = self._expression()
            self._need(")")
            return node
        if self._take("["):
            return Node("list", None, self._arguments("]"))
        if self._take("{"):
            return Node("map", None, self._entries())
        name = self._name()
        if self._take("("):
            return Node("call", name, self._arguments(")"))
        return Node("name", name)

    def _literal(self) -> Node | None:
        kind, token, _ = self._tokens[self._at]
        node: Node | None = None
        if kind in {"int", "float"}:
            node = _number(kind, token)
        elif kind == "raw":
            # Not even a backslash means anything else: patterns are written so.
            node = Node("literal", token[2:-1])
        elif kind == "text":
            node = Node("literal", _text(token))
        elif kind == "name" and token in _CONSTANTS:
            node = Node("literal", _CONSTANTS[token])
        if node is not None:
            self._at += 1
        return node

    def _arguments(self, end: str) -> tuple[Node, ...]:
        arguments: list[Node] = []
        while not self._take(end):
            if arguments:
                self._need(",")
                if end == "]" and self._take(end):
                    break
            arguments.append(self._expression())
        return tuple(arguments)

    def _entries(self) -> tuple[Node, ...]:
        entries: list[Node] = []
        while not self._take("}"):
            if entries:
                self._need(",")
                if self._take("}"):
                    break
            entries.append(self._expression())
            self._need(":")
            entries.append(self._expression())
        return tuple(entries)


def _need_shallow(node: Node) -> None:
    """Refuse a tree of too many levels: it is checked, compiled and evaluated by recursion."""
    level: Sequence[Node] = (node,)
    for _ in range(DEPTH_MAX):
        level = [argument for above in level for argument in above.args]
        if not level:
            return
    raise ParseError("is nested too deeply")


def _tokens(source: str) -> list[tuple[str, str, int]]:
    tokens, offset = [], 0
    while offset < len(source):
        match = _TOKEN.match(source, offset)
        if match is None:
            raise ParseError(f"does not parse, near column {offset + 1}")
        if match.lastgroup != "space":
            tokens.append((match.lastgroup or "", match[0], offset))
        offset = match.end()
    return tokens


def _number(kind: str, token: str) -> Node:
    if kind == "float":
        return Node("literal", float(token))
    value = int(token, 16 if "x" in token else 10)
    if not INT_MIN <= value <= INT_MAX:
        raise ParseError("has a number of more than 64 bits")
    return Node("literal", value)


def _text(token: str) -> str:
    def read(escape: "re.Match[str]") -> str:
        plain, two, four, eight, octal, _ = escape.groups()
        if plain:
            return _ESCAPED.get(plain, plain)
        digits, base = (octal, 8) if octal else (two or four or eight or "", 16)
        try:
            code = int(digits, base)
            return chr(-1 if code in _SURROGATES else code)
        except (ValueError, OverflowError):
            raise ParseError("has an escape in a text that is none") from None

    return _ESCAPE.sub(read, token[1:-1])
