"""Conditions such as `Running > 0 for 10s`: text to a tree, with the position of every mistake.

    condition  = all { "or" all }
    all        = one { "and" one }
    one        = "not" one | held
    held       = ( "(" condition ")" | comparison ) [ "for" DURATION ]
    comparison = operand [ ( ">" | ">=" | "<" | "<=" | "==" | "!=" ) operand ]
    operand    = NUMBER | "true" | "false" | NAME | "quoted name"

A signal alone means `signal != 0`. Nothing is executed: a tree is plain data, which
`signals.Conditions` evaluates.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from edge_agent.config.problem import Wrong
from edge_agent.config.types import DURATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LENGTH: Final = 500
MAX_DEPTH: Final = 20
MAX_HOLD_S: Final = 7 * 86400.0

_TOKEN: Final = re.compile(
    r"""\s*(?:
    (?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?P<unit>[A-Za-z]*)
    |(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)
    |"(?P<double>[^"]+)"|'(?P<single>[^']+)'
    |(?P<sign>>=|<=|==|!=|&&|\|\||<>|[<>=!()])
    )""",
    re.VERBOSE,
)
_COMPARISONS: Final = frozenset({">", ">=", "<", "<=", "==", "!="})
_WORDS: Final = frozenset({"and", "or", "not", "for", "true", "false"})
_INSTEAD: Final = {"=": "==", "<>": "!=", "&&": "and", "||": "or", "!": "not"}


@dataclass(frozen=True, slots=True)
class Signal:
    """The value of a signal of the asset."""

    name: str


Operand: TypeAlias = Signal | float


@dataclass(frozen=True, slots=True)
class Compare:
    """left sign right; the sign is one of > >= < <= == !=."""

    left: Operand
    sign: str
    right: Operand


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Node


@dataclass(frozen=True, slots=True)
class Every:
    """All parts hold."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one part holds."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """The part has held for this number of seconds without a break."""

    part: Node
    seconds: float


Node: TypeAlias = Compare | Not | Every | Some | Held


@dataclass(frozen=True, slots=True)
class Condition:
    """The text of a condition, and its tree."""

    text: str
    root: Node

    @property
    def signals(self) -> frozenset[str]:
        """The names of all signals in it."""
        return frozenset(_signals(self.root))


def parse_condition(text: str) -> Condition:
    """A condition from its text; Wrong names the mistake and marks its position with `^`."""
    if len(text) > MAX_LENGTH:
        raise Wrong(f"is longer than {MAX_LENGTH} characters")
    parser = _Parser(text, list(_tokens(text)))
    return Condition(" ".join(text.split()), parser.whole())


def both(first: Condition | None, second: Condition | None) -> Condition | None:
    """A condition that holds if both hold; None if both are None."""
    if first is None or second is None or first == second:
        return first or second
    return Condition(f"({first.text}) and ({second.text})", Every((first.root, second.root)))


def _signals(node: Node) -> Iterator[str]:
    if isinstance(node, Compare):
        yield from (side.name for side in (node.left, node.right) if isinstance(side, Signal))
    elif isinstance(node, Not | Held):
        yield from _signals(node.part)
    else:
        for part in node.parts:
            yield from _signals(part)


@dataclass(frozen=True, slots=True)
class _Token:
    """kind: number, amount (a number with a unit), name, word, sign, end; at: column from 0."""

    kind: str
    text: str
    at: int


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            place = at + len(text[at:]) - len(text[at:].lstrip())
            raise _wrong(text, place, f"{text[place]!r} is not allowed here")
        yield _token(match)
        at = match.end()
    yield _Token("end", "", len(text.rstrip()))


def _token(match: re.Match[str]) -> _Token:
    kind = match.lastgroup or ""
    if kind in {"number", "unit"}:
        kind = "amount" if match["unit"] else "number"
        return _Token(kind, match["number"] + match["unit"], match.start("number"))
    token = _Token(
        {"double": "name", "single": "name"}.get(kind, kind), match[kind], match.start(kind)
    )
    if kind == "name" and token.text.lower() in _WORDS:
        return _Token("word", token.text.lower(), token.at)
    return token


def _wrong(text: str, at: int, message: str, hint: str = "") -> Wrong:
    marked = f"{text[:at]}^{text[at:]}".strip()
    return Wrong(f"{message}, at the ^ in: {marked}", hint)


class _Parser:
    """Recursive descent over the tokens of one condition."""

    def __init__(self, text: str, tokens: list[_Token]) -> None:
        self._text = text
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    def whole(self) -> Node:
        if self._peek.kind == "end":
            raise Wrong("the condition is empty", "write Running > 0 for 10s")
        node = self._some()
        if self._peek.kind != "end":
            raise self._unexpected("the condition should end here")
        return node

    @property
    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _next_token(self) -> _Token:
        token = self._peek
        self._next += token.kind != "end"
        return token

    def _accept(self, kind: str, text: str) -> bool:
        found = (self._peek.kind, self._peek.text) == (kind, text)
        self._next += found
        return found

    def _unexpected(self, message: str, hint: str = "") -> Wrong:
        token = self._peek
        instead = _INSTEAD.get(token.text) if token.kind == "sign" else None
        return _wrong(self._text, token.at, message, f"write {instead}" if instead else hint)

    def _some(self) -> Node:
        parts = [self._every(alone=True)]
        while self._accept("word", "or"):
            parts.append(self._every(alone=_is_held(parts[-1])))
        return parts[0] if len(parts) == 1 else Some(tuple(parts))

    def _every(self, *, alone: bool) -> Node:
        parts = [self._one(alone=alone)]
        while self._accept("word", "and"):
            parts.append(self._one(alone=_is_held(parts[-1])))
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def _one(self, *, alone: bool) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._unexpected(f"more than {MAX_DEPTH} levels")
        negated = self._accept("word", "not")
        node = Not(self._one(alone=False)) if negated else self._held(alone=alone)
        self._depth -= 1
        return node

    def _held(self, *, alone: bool) -> Node:
        """A part and its `for`; alone: `for` cannot also apply to the parts before it."""
        bracket = self._accept("sign", "(")
        node = self._some() if bracket else self._comparison()
        if bracket and not self._accept("sign", ")"):
            raise self._unexpected("')' is missing")
        at = self._peek.at
        if not self._accept("word", "for"):
            return node
        if not (alone or bracket):
            hint = "put the part for this duration in brackets: (A > 0 and B > 1) for 10s"
            raise _wrong(self._text, at, "'for' is ambiguous", hint)
        return Held(node, self._seconds())

    def _seconds(self) -> float:
        token = self._next_token()
        match = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", token.text)
        unit = match[2] if match else ""
        if match and not unit and self._peek.kind == "name" and self._peek.text in DURATIONS:
            unit = self._next_token().text
        if match is None or unit not in DURATIONS or token.kind not in {"number", "amount"}:
            raise _wrong(self._text, token.at, "a duration is missing", "write for 10s, 5m or 1h")
        seconds = float(match[1]) * DURATIONS[unit]
        if not 0 < seconds <= MAX_HOLD_S:
            raise _wrong(self._text, token.at, "the duration must be above 0 and at most 7d")
        return seconds

    def _comparison(self) -> Node:
        left = self._operand()
        if self._peek.kind != "sign" or self._peek.text not in _COMPARISONS:
            if isinstance(left, Signal) and self._peek.text not in _INSTEAD:
                return Compare(left, "!=", 0.0)
            raise self._unexpected("a comparison is missing", "one of > >= < <= == !=")
        node = Compare(left, self._next_token().text, self._operand())
        if self._peek.kind == "sign" and self._peek.text in _COMPARISONS:
            raise self._unexpected("one comparison after another", "join them: 1 < A and A < 5")
        if not any(isinstance(side, Signal) for side in (node.left, node.right)):
            raise self._unexpected("two numbers are compared", "name a signal")
        return node

    def _operand(self) -> Operand:
        token = self._peek
        if token.kind == "name":
            return Signal(self._next_token().text)
        if token.kind == "number":
            return self._number()
        if token.kind == "word" and token.text in {"true", "false"}:
            return float(self._next_token().text == "true")
        if token.kind == "amount":
            hint = "numbers are in the unit of the signal, without a unit; quote a signal's name"
            raise self._unexpected("a number with a unit", hint)
        raise self._unexpected("the name of a signal or a number is missing")

    def _number(self) -> float:
        value = float(self._peek.text)
        if not math.isfinite(value):
            raise self._unexpected("the number is too large")
        self._next_token()
        return value


def _is_held(node: Node) -> bool:
    return isinstance(node, Held)
