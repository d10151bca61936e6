"""The identity of a child: Wardroom's address, its session and attempt, and its token."""

import hashlib
import hmac
import os
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit


class NotAChild(RuntimeError):
    """Wardroom did not start this process, and the environment names no identity."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One attempt of one session, with the secret that proves it."""

    url: str
    session: str
    attempt: int
    token: str = field(repr=False)

    def keyed(self, name: str) -> str:
        """Return a word for this name that needs the token to guess, and that is the same after a restart."""
        word = f"{self.session}:{self.attempt}:{name}"
        return hmac.new(self.token.encode(), word.encode(), hashlib.sha256).hexdigest()[:40]

    @classmethod
    def from_env(cls, environ: MutableMapping[str, str] = os.environ) -> "Identity":
        """Read WARDROOM_URL, WARDROOM_SESSION, WARDROOM_ATTEMPT and the token, or raise NotAChild.

        The token comes from the descriptor WARDROOM_TOKEN_FD, the file WARDROOM_TOKEN_FILE, or WARDROOM_TOKEN itself.
        It is removed from the environment, so that processes started by the child do not inherit it.
        """
        session = environ.get("WARDROOM_SESSION") or environ.get("WARDROOM_SESSION_ID")
        url, attempt = environ.get("WARDROOM_URL"), environ.get("WARDROOM_ATTEMPT")
        if not url or not session or not (attempt or "").isdecimal():
            raise NotAChild("set WARDROOM_URL, WARDROOM_SESSION and WARDROOM_ATTEMPT, or let Wardroom start this")
        try:
            known = urlsplit(url).hostname and urlsplit(url).scheme in ("http", "https") and len(attempt or "") < 10
        except ValueError:
            known = False
        if not known:
            raise NotAChild(
                f"WARDROOM_URL ({url[:200]!r}) is not an http address, or WARDROOM_ATTEMPT is not an attempt's number"
            )
        descriptor, path = environ.pop("WARDROOM_TOKEN_FD", ""), environ.get("WARDROOM_TOKEN_FILE", "")
        try:
            if descriptor:
                with open(int(descriptor)) as file:
                    token = file.read().strip()
            else:
                token = Path(path).read_text().strip() if path else environ.pop("WARDROOM_TOKEN", "")
        except (OSError, ValueError) as error:
            place = (
                f"descriptor {descriptor} (WARDROOM_TOKEN_FD)"
                if descriptor
                else f"the file {path} (WARDROOM_TOKEN_FILE)"
            )
            raise NotAChild(f"{place} holds no token: {error}") from None
        if not token and not descriptor:
            raise NotAChild("no token: set WARDROOM_TOKEN_FD, WARDROOM_TOKEN_FILE or WARDROOM_TOKEN")
        return cls(url.rstrip("/"), session, int(attempt or 0), token)

    @property
    def websocket_url(self) -> str:
        """The address of the connection."""
        parts = urlsplit(self.url)
        scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
        path = f"{parts.path.rstrip('/')}/ws/children/{quote(self.session, safe='')}"
        return urlunsplit((scheme, parts.netloc, path, "", ""))

    @property
    def is_local(self) -> bool:
        """True when Wardroom is on this machine. Then no proxy is used."""
        return is_loopback(urlsplit(self.url).hostname or "")


def is_loopback(host: str) -> bool:
    """Return True when `host` names this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
