"""The condition `when` of a rule: one CEL expression over `arguments`, `session` and `approval`.

An asker chooses the arguments, so an evaluation must be cheap for every one of them. There are no macros, so no loops;
a regular expression is a constant of the rule; and the size of the arguments that conditions may read is bounded. A
condition that cannot be evaluated raises `Undecided`, which means *ask*.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

# The library imports its command line first, with a terminal toolkit: a tenth of the start of each process, and 9 MB.
sys.modules.setdefault("cel.cli", ModuleType("cel.cli"))
import cel  # noqa: E402

MAX_CHARACTERS = 1000
MAX_SUMS, MAX_PATTERNS, MAX_PATTERN, MAX_CLASSES = 8, 4, 100, 4
#: Values in the arguments: each is converted for the evaluation, and a list may be searched by each comparison.
MAX_VALUES = 2000
SESSION = frozenset({"id", "root", "parent", "depth", "path", "role", "roles", "metadata"})
#: Members of the session that are read, or converted, only for a condition that names them.
COSTLY = frozenset({"roles", "metadata"})
APPROVAL = frozenset(
    {
        "tool_name",
        "tool_call_id",
        "tool_schema_version",
        "permission",
        "resource",
        "question",
        "risk",
        "reversibility",
        "via",
        "preconditions",
    }
)
VARIABLES: Mapping[str, frozenset[str] | None] = {"arguments": None, "session": SESSION, "approval": APPROVAL}
FUNCTIONS = frozenset(
    {
        "size",
        "contains",
        "startsWith",
        "endsWith",
        "matches",
        "int",
        "uint",
        "double",
        "string",
        "type",
        "timestamp",
        "duration",
        "has",
        "getFullYear",
        "getMonth",
        "getDate",
        "getDayOfMonth",
        "getDayOfWeek",
        "getDayOfYear",
        "getHours",
        "getMinutes",
        "getSeconds",
    }
)
#: Macros repeat a part of the expression for each item.
MACROS = frozenset(
    {"all", "exists", "exists_one", "existsOne", "map", "filter", "bind", "transformList", "transformMap"}
)
OPERATORS = frozenset(
    {
        "_&&_",
        "_||_",
        "!_",
        "-_",
        "_+_",
        "_-_",
        "_*_",
        "_/_",
        "_%_",
        "_==_",
        "_!=_",
        "_<_",
        "_<=_",
        "_>_",
        "_>=_",
        "@in",
        "_?_:_",
        "_[_]",
    }
)
_CLASS = re.compile(r"\\[a-zA-Z]|\[:")
_ESCAPE = re.compile(r"\\[^\"']")
#: One kind of text only. Raw texts, and those of several lines, have other escapes: they could hide a macro from it.
_TOKEN = re.compile(
    r"""(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<number>\d+(?:\.\d+)?)|(?P<space>\s+)|(?P<comment>//)|(?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
_SIGNS = frozenset("()[]{}.,?:!<>=&|+-*/%")
_PREFIXES = frozenset({"r", "b", "rb", "br"})
Token = tuple[str, str]
REASONS: Mapping[type[BaseException], str] = {
    KeyError: "a member is missing",
    IndexError: "an item is missing",
    TypeError: "a value has another type",
    ZeroDivisionError: "a division by zero",
    OverflowError: "a number is too large",
}


class Undecided(Exception):
    """The condition has no answer for this request."""


class Condition:
    """One compiled condition."""

    __slots__ = ("_program", "reads", "reads_session", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._program = cel.compile(text)
        names = {word for kind, word in _tokens(text) if kind == "name"}
        self.reads_session = "session" in names
        self.reads = COSTLY & names

    def holds(self, context: Any) -> bool:
        """Evaluate it. Raises Undecided when it fails, and for an answer other than true or false."""
        try:
            found = self._program.execute(context)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # A panic of the evaluator is no Exception.
            # The text of the error may hold a value of the arguments, and reasons are recorded.
            raise Undecided(REASONS.get(type(error), "it could not be evaluated")) from None
        if not isinstance(found, bool):
            raise Undecided("its value is neither true nor false")
        return found


class Unreadable:
    """The condition of a stored rule that cannot be read any more. It has no answer for any request."""

    text = ""
    reads: frozenset[str] = frozenset()
    reads_session = False

    def holds(self, context: Any) -> bool:
        """Raise Undecided."""
        raise Undecided("the rule cannot be read")


def context(arguments: Any, session: Mapping[str, Any], approval: Mapping[str, Any], size: int) -> Any:
    """Return the variables, converted once for all conditions. Too many values in the arguments are left out."""
    variables: dict[str, Any] = {"session": dict(session), "approval": dict(approval)}
    if size <= MAX_VALUES:
        variables["arguments"] = arguments
    return cel.Context(variables)


def fault(text: str) -> str | None:
    """Return why an expression cannot be a condition, or None."""
    if len(text) > MAX_CHARACTERS:
        return f"is longer than {MAX_CHARACTERS} characters"
    if '"""' in text or "'''" in text:
        return "has a text with three quotes"
    tokens = [token for token in _tokens(text) if token[0] != "space"]
    if any(kind == "comment" for kind, _ in tokens):
        return "has a comment"
    for found in (_texts(tokens), _names(tokens), _costs(tokens)):
        if found:
            return found
    try:
        references = cel.compile(text).references()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        return f"is no CEL expression: {str(error).partition('ERROR: ')[2].partition(chr(10))[0][:200]}"
    # The names again, as the parser sees them: the lexer above is ours, and might err.
    if unknown := sorted(set(references["variables"]) - set(VARIABLES)):
        return f"names {unknown[0]}, and knows only {', '.join(VARIABLES)}"
    unknown = sorted(set(references["functions"]) - FUNCTIONS - OPERATORS)
    return f"calls {unknown[0]}, which is no function here" if unknown else None


def _tokens(text: str) -> Iterator[Token]:
    for found in _TOKEN.finditer(text):
        yield str(found.lastgroup), found[0]


def _texts(tokens: list[Token]) -> str | None:
    """Refuse everything that this lexer and the parser might read differently, and every macro."""
    for (kind, word), (kind_after, after) in itertools.pairwise([*tokens, ("", "")]):
        if kind == "name" and kind_after == "string" and word.lower() in _PREFIXES:
            return f"has a text with the prefix {word}"
        if kind == "name" and word in MACROS and after == "(":
            return f"has the macro `{word}`: macros are not allowed"
        if kind == "sign" and word not in _SIGNS:
            return f"has the character {word}"
    return None


def _names(tokens: list[Token]) -> str | None:
    """Check the members of `session` and `approval`, which are known. Those of `arguments` are not."""
    padded = [("", ""), *tokens, ("", ""), ("", "")]
    for before, (kind, word), dot, member in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        known = VARIABLES.get(word) if kind == "name" and before[1] != "." else None
        if known is None:
            continue
        if dot[1] != "." or member[1] not in known:
            named = f"{word}{dot[1]}{member[1]}"[:40]
            return f"names {named}; of {word} it may read {', '.join(sorted(known))}"
    return None


def _costs(tokens: list[Token]) -> str | None:
    if sum(word == "+" for _, word in tokens) > MAX_SUMS:
        return f"has more than {MAX_SUMS} `+`"
    patterns = [at for at, (kind, word) in enumerate(tokens) if kind == "name" and word == "matches"]
    if len(patterns) > MAX_PATTERNS:
        return f"has more than {MAX_PATTERNS} regular expressions"
    for at in patterns:
        called = tokens[at + 1 : at + 4]
        if [word for _, word in called[::2]] != ["(", ")"] or called[1][0] != "string":
            return "calls matches with something else than one constant text"
        if found := _pattern(called[1][1]):
            return found
    return None


def _pattern(text: str) -> str | None:
    """Check the regular expression in a constant text: classes and counted repetitions take long to compile."""
    if _ESCAPE.search(text.replace("\\\\", "")):
        return "has a regular expression with an escape that this check does not read: write \\\\ for a backslash"
    pattern = text[1:-1].replace("\\\\", "\\")
    if len(pattern) > MAX_PATTERN:
        return f"has a regular expression of more than {MAX_PATTERN} characters"
    if "{" in pattern:
        return "has a regular expression with a counted repetition"
    if len(_CLASS.findall(pattern)) > MAX_CLASSES:
        return f"has a regular expression with more than {MAX_CLASSES} classes such as \\w"
    return None
