"""The requests under /api/v1 that every call is made of. A client says how a request is made."""

from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

LONGEST_WAIT = 25.0

#: The JSON of an answer, or an awaitable of it.
Answer = TypeVar("Answer")


class Requests(Generic[Answer]):
    """GET, POST, PUT and DELETE under /api/v1."""

    def get(self, path: str, query: dict[str, Any] | None = None) -> Answer:
        """GET under /api/v1."""
        return self._call("GET", f"{path}?{urlencode(query)}" if query else path, None, {})

    def post(self, path: str, body: dict[str, Any], idempotency_key: str | None = None) -> Answer:
        """POST under /api/v1."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self._call("POST", path, body, headers)

    def put(self, path: str, body: dict[str, Any]) -> Answer:
        """PUT under /api/v1."""
        return self._call("PUT", path, body, {})

    def delete(self, path: str) -> Answer:
        """DELETE under /api/v1."""
        return self._call("DELETE", path, None, {})

    def _call(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
        raise NotImplementedError


def given(**members: Any) -> dict[str, Any]:
    """Return the members that are not None."""
    return {name: value for name, value in members.items() if value is not None}


def at(*steps: str) -> str:
    """Return a path of these steps. Each is one step, also one with a slash in it."""
    return "/".join(quote(step, safe="") for step in steps)
