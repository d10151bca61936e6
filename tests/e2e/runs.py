"""One session of a running Wardroom, driven by REST as an integrator would."""

from pathlib import Path
from typing import Any, Protocol

import httpx

from tests.waiting import wait_until

TERMINAL = ("completed", "error", "timeout", "cancelled", "skipped")


class Answering(Protocol):
    """A house that can be called by REST."""

    def call(self, method: str, path: str, body: Any = None) -> httpx.Response: ...


class Run:
    """A session, its pending request and its end. Calls are repeated while a web process is away."""

    def __init__(self, house: Answering, **order: Any) -> None:
        self.house = house
        self.id = self.ask("POST", "sessions", order, status=201)["id"]

    def ask(self, method: str, path: str, body: Any = None, *, status: int = 200, timeout: float = 20) -> Any:
        def answer() -> httpx.Response | None:
            got = self.house.call(method, path, body)
            return None if got.status_code in (500, 502, 503) else got

        got = wait_until(answer, timeout, why=f"{method} {path} is answered")
        assert got is not None and got.status_code == status, f"{got.status_code} {got.text}"
        return got.json()

    def session(self) -> dict[str, Any]:
        return self.ask("GET", f"sessions/{self.id}")

    def events(self) -> list[dict[str, Any]]:
        return self.ask("GET", f"sessions/{self.id}/events?limit=500")["results"]

    def pending(self, timeout: float = 30) -> dict[str, Any]:
        """The approval that it waits for."""
        path = f"approvals?status=pending&session={self.id}"
        found = wait_until(lambda: self.ask("GET", path)["results"], timeout, why=f"{self.id} waits for a person")
        return found[0]

    def approve(self, approval: dict[str, Any]) -> dict[str, Any]:
        answer = {"decision": "approve", "digest": approval["digest"]}
        return self.ask("POST", f"approvals/{approval['id']}/decide", answer)

    def approval(self, approval: dict[str, Any]) -> dict[str, Any]:
        return self.ask("GET", f"approvals/{approval['id']}")

    def status(self, *wanted: str, timeout: float = 40) -> dict[str, Any]:
        """The session, once it has one of these states."""

        def seen() -> dict[str, Any] | None:
            session = self.session()
            if session["status"] in TERMINAL and session["status"] not in wanted:
                raise AssertionError(f"{session['status']}: {session['error']}")
            return session if session["status"] in wanted else None

        return wait_until(seen, timeout, why=f"{self.id} is {' or '.join(wanted)}")


def runbook(house: Answering, *lines: str) -> Run:
    return Run(house, role="runbook", title="a test", assignment="\n".join(lines))


class Ledger:
    """A file for the words of the steps. It shows their number and their order."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def step(self, word: str) -> str:
        return f"echo {word} >> {self.path}"

    def words(self) -> list[str]:
        return self.path.read_text().split() if self.path.exists() else []
