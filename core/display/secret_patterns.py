"""Find secrets: by the name of a field, and by their form in a text.

A hidden part of a text must not hide a command. Outside of a known format it is one word, or words in quotes without
any sign for a shell. So `PASSWORD=hunter2; make` keeps `; make` in view.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

#: The written form of a hidden value. Such a text in an original is itself hidden, so each one in a copy is genuine.
PLACEHOLDER = re.compile(r"\[redacted(?: [1-9][0-9]{0,8})?\]")

#: Ends of a name, without case and separators: `DB_PASSWORD`, `x-api-key` and `clientSecret` all end with one of these.
_ENDS = (
    "password", "passwd", "passphrase", "passcode", "secret", "token", "apikey", "accesskey", "secretkey", "privatekey",
    "signingkey", "encryptionkey", "masterkey", "authkey", "sshkey", "accountkey", "sharedkey", "secretkeybase",
    "credential", "authorization", "cookie", "connectionstring", "connstr", "connectionuri", "connectionurl",
    "databaseurl", "dsn",
)  # fmt: skip
#: Last words of a name that are a secret only as a word of their own: `shipping` is no `pin`.
_WORDS = frozenset({"auth", "bearer", "cvc", "cvv", "jwt", "otp", "pass", "pin", "pwd", "totp"})
#: Last words that say nothing of the kind: `password_confirmation`, `new_password_2`.
_NOISE = frozenset({
    "again", "confirm", "confirmation", "current", "encoded", "new", "old", "plain", "plaintext", "raw", "repeat",
    "text", "value", "b64", "base64",
})  # fmt: skip
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
#: The end of a name that is looked at.
LONGEST_NAME = 256

_KEYWORD = (
    r"(?:passwords?|passwd|passphrase|secrets?|token|api[_-]?keys?|access[_-]?key|secret[_-]?key|private[_-]?key"
    r"|account[_-]?key|shared[_-]?key|auth[_-]?key|signing[_-]?key|credentials?|authorization|cookie|_pwd|dsn)"
)
#: One word without a sign for a shell, or words in quotes without one.
_PLAIN = r"[A-Za-z0-9_.~+/=@%:!#^*?,-]"
_IN_QUOTES = r"[^\"'$`;|&<>(){}\\\r\n]{1,256}+"
_QUOTED = rf"(?:\\?\"({_IN_QUOTES})\\?\"|'({_IN_QUOTES})')"
# A call such as `token = get_token()` is no value.
_NO_CALL = r"(?![(\[])"
_VALUE = rf"(?:{_QUOTED}|({_PLAIN}{{1,1024}}+)){_NO_CALL}"
_NAMED = "pass secret token key credential cookie pwd dsn"


class Pattern(NamedTuple):
    """A form of secrets. `anchors` are lower-case texts: without one of these the expression cannot match."""

    name: str
    anchors: tuple[str, ...]
    spans: Callable[[str], Iterable[tuple[int, int]]]


def _pattern(name: str, anchors: str, expression: str) -> Pattern:
    """Make a built-in pattern. Its groups are the secret; without groups the whole match is. It runs in linear time."""
    compiled = re.compile(expression)

    def spans(text: str) -> Iterator[tuple[int, int]]:
        for found in compiled.finditer(text):
            yield found.span(next((group for group in range(1, compiled.groups + 1) if found[group]), 0))

    return Pattern(name, tuple(anchors.split(" ")), spans)


BUILT_IN = (
    Pattern("placeholder", ("[redacted",), lambda text: (found.span() for found in PLACEHOLDER.finditer(text))),
    _pattern("wardroom", "wr_", r"(?i)wr_(?:key|child|pool)_[a-z0-9]+_([A-Za-z0-9_-]+)"),
    _pattern("subprotocol", "bearer.", r"(?i)\bbearer\.([A-Za-z0-9_.-]{8,})"),
    _pattern("bearer", "bearer", r"(?i)\bbearer[ \t]{1,4}([A-Za-z0-9._~+/-]{16,}+={0,2})"),
    _pattern(
        "authorization",
        "authorization",
        r"(?i)\bauthorization\\?[\"']?[ \t]{0,4}[:=][ \t]{0,4}\\?[\"']?"
        r"(?:(?:basic|bearer|digest|negotiate|token|apikey)[ \t]{1,4})?+([A-Za-z0-9._~+/-]{6,}+={0,2})",
    ),
    _pattern("aws", "akia asia abia acca", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
    _pattern("github", "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_", r"\b(?:gh[opusr]_|github_pat_)[A-Za-z0-9_]{20,}+"),
    _pattern("gitlab", "glpat-", r"\bglpat-[A-Za-z0-9_-]{16,}+"),
    _pattern("slack", "xox xapp-", r"\bx(?:ox[a-z]|app)-[A-Za-z0-9-]{10,}+"),
    _pattern("slack_webhook", "hooks.slack.com", r"hooks\.slack\.com/(?:services|workflows)/([A-Za-z0-9_/-]{10,}+)"),
    _pattern("model_key", "sk-", r"\bsk-(?:[a-z0-9]{1,16}-){0,3}[A-Za-z0-9_-]{20,}+"),
    _pattern("stripe", "k_live_ k_test_", r"\b[sr]k_(?:live|test)_[A-Za-z0-9]{10,}+"),
    _pattern("google", "aiza ya29.", r"\bAIza[A-Za-z0-9_-]{35}|\bya29\.[A-Za-z0-9_-]{20,}+"),
    _pattern("package_registry", "npm_ pypi-", r"\bnpm_[A-Za-z0-9]{30,}+|\bpypi-[A-Za-z0-9_-]{40,}+"),
    _pattern("huggingface", "hf_", r"\bhf_[A-Za-z0-9]{30,}+"),
    _pattern("sendgrid", "sg.", r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}+"),
    _pattern("webhook_secret", "whsec_", r"\bwhsec_[A-Za-z0-9+/=_-]{16,}+"),
    _pattern("jwt", "eyj", r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*+"),
    # The lines of a key: base64 of 16 characters or more, and a shorter last line before the end mark. Nothing else.
    _pattern(
        "private_key",
        "private key",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:(?:\\[rn]|[\r\n])[ \t]{0,40}[A-Za-z-]{1,20}: [A-Za-z0-9,. -]{1,80})*+"
        r"(?:(?:\\[rn]|[\r\n][ \t]{0,40})*+[A-Za-z0-9+/=]{16,}+)*+"
        r"(?:(?:\\[rn]|[\r\n][ \t]{0,40})*+[A-Za-z0-9+/=]{1,15}(?=\\|\s))?"
        r"(?:(?:\\[rn]|[\r\n][ \t]{0,40})*+-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?",
    ),
    # The user stays in view, unless the user alone is the secret.
    _pattern(
        "url",
        "://",
        r"(?<=://)(?:[^\s/?#:@\"'<>`$;|&(){}]*:([^\s/\"'<>`$;|&(){}]+)@|([^\s/?#:@\"'<>`$;|&(){}]{16,})@)",
    ),
    _pattern("assignment", _NAMED, rf"(?i){_KEYWORD}[ \t]{{0,4}}=[ \t]{{0,4}}{_VALUE}"),
    _pattern(
        "option",
        "--pass --secret --token --api --access --auth --cred -password -token -key -secret",
        rf"(?i)(?<![^\s\"'])--?[a-z0-9_-]{{0,40}}{_KEYWORD}[ \t]{{1,4}}(?!-){_VALUE}",
    ),
    _pattern(
        "user_option",
        "-u --user",
        rf"(?<![^\s\"'])(?:-u|--user|--proxy-user)[ =]{{0,4}}[\"']?[^\s:\"'$]{{1,128}}+:({_PLAIN}{{3,1024}}+)",
    ),
    _pattern("member", _NAMED, rf"(?i){_KEYWORD}\\?[\"']?[ \t]{{0,4}}:[ \t]{{0,4}}{_QUOTED}"),
    # `password: hunter2` in prose: a word with a digit or a sign, or a long one. `the token: please ...` is none.
    _pattern(
        "stated",
        _NAMED,
        rf"(?i){_KEYWORD}[ \t]{{0,4}}:[ \t]{{1,4}}"
        rf"((?={_PLAIN}{{0,64}}[0-9!#%^*+/=@])(?!https?:){_PLAIN}{{4,1024}}+|{_PLAIN}{{16,1024}}+){_NO_CALL}",
    ),
    _pattern(
        "line",
        _NAMED,
        rf"(?im)^[ \t-]{{0,40}}[\w.-]{{0,64}}{_KEYWORD}[ \t]{{0,4}}:[ \t]{{1,4}}"
        rf"(?!https?:)({_PLAIN}{{3,1024}}+)[ \t,]{{0,4}}$",
    ),
)


@functools.lru_cache(maxsize=8192)
def _compact(name: str) -> tuple[str, str]:
    """Return a name without case, separators and noise, and its last word."""
    words = [word.lower() for word in _WORD.findall(name)]
    while len(words) > 1 and (words[-1].isdecimal() or words[-1] in _NOISE):
        words.pop()
    return "".join(words), words[-1] if words else ""


@functools.lru_cache(maxsize=8192)
def is_secret_name(name: str, extra: frozenset[str] = frozenset(), shown: frozenset[str] = frozenset()) -> bool:
    """Return True when a field of this name holds a secret. `extra` and `shown` are compact names, as `compact` makes.

    A name that is in `shown` never does, whatever its end.
    """
    whole, last = _compact(name[-LONGEST_NAME:])
    if whole in shown:
        return False
    single = whole.removesuffix("s")
    return whole in extra or single.endswith(_ENDS) or whole.endswith(_ENDS) or last in _WORDS


def compact(name: str) -> str:
    """Return the form in which names are compared: without case, separators and noise words at the end."""
    return _compact(name[-LONGEST_NAME:])[0]


def merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the spans in order, overlapping ones as one."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found
