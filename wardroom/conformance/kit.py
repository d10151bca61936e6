"""A harness runs an agent; the kit looks at the server, and plays the people."""

import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from wardroom.adapters.calls import ToolCall
from wardroom.client import Client
from wardroom.gate.action import Policy
from wardroom.gate.refusals import ApprovalPending

T = TypeVar("T")
#: The tool of every harness: `write(path: str, text: str) -> str`.
TOOL = "write"
PATIENCE = 30.0


@dataclass
class Run:
    """One run of an agent. Its model calls the tool `write` once for each of `calls`, all in its first turn.

    The harness gives `policy`, `timeout` and `conversation` to its adapter, with a client of `url` and `key`. Its tool
    calls `run.tool(path=..., text=...)` and returns the result. `folder` survives a restart.
    """

    url: str
    key: str
    calls: list[ToolCall]
    conversation: str
    folder: Path
    timeout: float | None = None
    policy: Policy = field(default_factory=Policy)
    ran: list[dict[str, Any]] = field(default_factory=list)

    def tool(self, **arguments: Any) -> str:
        """Run the tool: note its arguments."""
        self.ran.append(arguments)
        return f"wrote {arguments.get('path')}"


#: Runs an agent to its end, and returns what the model read for each call. It may raise ApprovalPending.
Harness = Callable[[Run], list[str]]


class Kit:
    """One adapter under check.

    `can_edit` is False for an adapter that cannot run other arguments, `reports` for one that cannot know
    how a tool ended.
    """

    def __init__(self, harness: Harness, *, url: str, key: str, can_edit: bool = True, reports: bool = True) -> None:
        self.harness = harness
        self.url = url
        self.key = key
        self.can_edit = can_edit
        self.reports = reports
        self.people = Client(url, key)

    @contextmanager
    def run(self, *, count: int = 1, key: str | None = None, policy: Policy | None = None) -> Iterator[Run]:
        """Make a run of its own. Its paths are unique, so its requests can be found."""
        folder = Path(tempfile.mkdtemp(prefix="wardroom-conformance-"))
        name = secrets.token_hex(6)
        calls = [
            ToolCall(f"call_{n}", TOOL, {"path": f"/{name}/{n}", "text": "proposed"}, self.can_edit)
            for n in range(count)
        ]
        policy = policy or Policy("write", "{path}")
        try:
            yield Run(self.url, key or self.key, calls, name, folder, policy=policy)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def running(self, run: Run) -> Iterator["Started"]:
        """Run the harness in a thread. The run must have ended when the check ends."""
        started = Started(lambda: self.harness(run))
        started.start()
        yield started
        if not started.is_told:
            started.result()

    def requests(self, run: Run) -> list[dict[str, Any]]:
        """Return the requests of a run, in the order of its calls."""
        wanted = {call.arguments["path"] for call in run.calls}
        found = [each for each in self.people.approvals(limit=50) if each["resource"] in wanted]
        return sorted(found, key=lambda each: str(each["resource"]))

    def asked(self, run: Run) -> list[dict[str, Any]]:
        """Wait until every call of the run is asked for, and return the requests."""
        return eventually(lambda: found if len(found := self.requests(run)) >= len(run.calls) else None)


class Started(threading.Thread):
    """A run in a thread of its own, with its result or its exception."""

    def __init__(self, work: Callable[[], list[str]]) -> None:
        super().__init__(name="wardroom-conformance", daemon=True)
        self._work = work
        self._found: list[str] = []
        self._error: BaseException | None = None
        #: True when a check has asked for the result, or its error.
        self.is_told = False

    def run(self) -> None:
        """Run the work."""
        try:
            self._found = self._work()
        except BaseException as error:
            self._error = error

    def result(self) -> list[str]:
        """Return the texts that the model read. A pending run has the text of its exception for each call."""
        self.is_told = True
        self.join(PATIENCE)
        expect(not self.is_alive(), "the run does not end")
        if isinstance(self._error, ApprovalPending):
            return [str(self._error)]
        if self._error is not None:
            raise self._error
        return self._found


def expect(holds: object, rule: str) -> None:
    """Raise AssertionError with the rule unless it holds."""
    if not holds:
        raise AssertionError(rule)


def eventually(seen: Callable[[], T | None], rule: str = "the adapter asks for the call") -> T:
    """Poll until `seen` returns something true, and return that."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if found := seen():
            return found
        time.sleep(0.02)
    raise AssertionError(rule)
