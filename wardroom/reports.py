"""The reports of a supervisor, and the meaning of their answers. Standard library only."""

import http.client
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

_LARGEST_ANSWER = 65536


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status (0: no answer) and the JSON object of the answer."""

    status: int
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """True when Wardroom took the report."""
        return 200 <= self.status < 300

    @property
    def dead(self) -> bool:
        """True when the token is no longer valid."""
        return self.status in (401, 403, 404, 410)

    @property
    def final(self) -> bool:
        """True when repeating the same report would get the same answer."""
        return 400 <= self.status < 500 and self.status not in (408, 425, 429)


class Reporter:
    """Posts reports about one attempt. Each uses a new connection: the server may have been replaced in between."""

    def __init__(self, url: str, session: str, attempt: int, token: str) -> None:
        self._address = urlsplit(url)
        self._path = f"{self._address.path.rstrip('/')}/api/v1/sessions/{quote(session)}/attempts/{attempt}"
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "User-Agent": "wardroom-supervisor",
        }

    def post(self, what: str, report: dict[str, Any], timeout: float = 10.0) -> Answer:
        """Post one report. It never raises: any failure on the way is status 0."""
        kind = http.client.HTTPSConnection if self._address.scheme == "https" else http.client.HTTPConnection
        try:
            connection = kind(self._address.hostname or "", self._address.port, timeout=timeout)
            try:
                connection.request("POST", f"{self._path}/{what}", json.dumps(report), self._headers)
                response = connection.getresponse()
                raw = response.read(_LARGEST_ANSWER)
                try:
                    body = json.loads(raw)
                except (ValueError, RecursionError):
                    body = {}
                return Answer(response.status, body if isinstance(body, dict) else {})
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError):
            return Answer(0)
