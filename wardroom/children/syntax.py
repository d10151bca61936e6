"""Find lines that a shell cannot run alone because they continue on the next line. A runbook never joins lines."""

import re

_OPEN = {
    "'": "has a ' without its end",
    '"': 'has a " without its end',
    "`": "has a ` without its end",
    "(": "has a ( without its end",
    "((": "has a (( without its end",
    "{": "has a ${ without its end",
}
# Compound commands, each with the word that ends it.
_BLOCKS = {"if": "fi", "for": "done", "while": "done", "until": "done", "case": "esac"}
_MIDDLES = frozenset({"then", "elif", "else", "fi", "do", "done", "esac", "}"})


def unfinished(command: str) -> str | None:
    """Return why one line is not a complete command of `sh`, or None when it may be one.

    This is a scan for certain continuations, not a parser. `sh` itself decides the rest.
    """
    words = re.findall(r"[\w}{]+", command)
    first = command.split(maxsplit=1)[0] if command.split() else ""
    if first in _MIDDLES:
        return f"begins with {first!r}, which belongs to a command of several lines"
    if (end := _BLOCKS.get(first)) and end not in words:
        return f"begins with {first!r} and has no {end!r}"
    return _Scan(command).fault()


class _Scan:
    """One pass over a command. `stack` holds the open constructs."""

    def __init__(self, command: str) -> None:
        self.command = command
        self.stack: list[str] = []

    def fault(self) -> str | None:
        """Return the error at the end of the line, or a here-document on the way there."""
        at = 0
        while at < len(self.command):
            sign = self.command[at]
            if sign == "\\" and self.top != "'":
                if at + 1 == len(self.command):
                    return "ends in a backslash"
                at += 2
            elif self._is_plain and self._begins(at, "<<"):
                if not self._begins(at, "<<<"):
                    return "begins a here-document (<<)"
                at += 3
            elif self._is_plain and sign == "#" and (at == 0 or self.command[at - 1] in " \t;&|()`"):
                break
            else:
                at += self._step(at, sign)
        return _OPEN[self.stack[-1]] if self.stack else None

    @property
    def top(self) -> str:
        return self.stack[-1] if self.stack else ""

    @property
    def _is_plain(self) -> bool:
        return self.top in ("", "(", "`")

    def _begins(self, at: int, text: str) -> bool:
        return self.command.startswith(text, at)

    def _step(self, at: int, sign: str) -> int:
        """Open or close the construct at this position. Return the number of characters read."""
        if self.top == "'":
            if sign == "'":
                self.stack.pop()
            return 1
        for opener, name in (("$((", "(("), ("$(", "("), ("${", "{")):
            if self._begins(at, opener):
                self.stack.append(name)
                return len(opener)
        # A single quote is a plain character in double quotes, in `${...}` within them, and in arithmetic.
        is_quoted = self.top in ('"', "((") or (self.top == "{" and self.stack[-2:-1] == ['"'])
        if sign in '"`' or (sign == "'" and not is_quoted):
            if sign == "`" and "`" in self.stack:
                while self.stack.pop() != "`":
                    pass
            elif self.top == sign:
                self.stack.pop()
            else:
                self.stack.append(sign)
        elif self.top != '"':
            return self._bracket(at, sign)
        return 1

    def _bracket(self, at: int, sign: str) -> int:
        if sign == "(" and self.top != "{":
            self.stack.append("(")
        elif sign == ")" and self.top == "((":
            # Without a second bracket it was not arithmetic but a command in brackets: $((a); b)
            if self._begins(at, "))"):
                self.stack.pop()
                return 2
            self.stack[-1] = "("
        elif (sign == ")" and self.top == "(") or (sign == "}" and self.top == "{"):
            self.stack.pop()
        return 1
