"""A client that is generated from docs/openapi.yaml, with which a program does its work."""

from __future__ import annotations

import contextlib
import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import pytest

from tests.document import PATH
from tests.servers.stack import House

pytestmark = pytest.mark.surface

NAME = "generated_client"
OPTIONS = ["generate", "--meta", "none", "--fail-on-warning"]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The package, made by the generator without a warning."""
    folder = tmp_path_factory.mktemp("client")
    tools = Path(sys.executable).parent
    subprocess.run(
        [tools / "openapi-python-client", *OPTIONS, "--path", PATH, "--output-path", folder / NAME],
        env={"PATH": f"{tools}:/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        check=True,
    )
    sys.path.insert(0, str(folder))
    yield lambda name: importlib.import_module(f"{NAME}.{name}")
    sys.path.remove(str(folder))


def test_every_module_of_a_generated_client_imports(generated: Any) -> None:
    root = Path(str(generated("client").__file__)).parent
    names = [file.relative_to(root).with_suffix("").as_posix().replace("/", ".") for file in root.rglob("[a-z]*.py")]
    assert len([generated(name) for name in names]) > 150


@pytest.mark.stack
def test_a_generated_client_spawns_waits_for_an_approval_and_decides_it(
    generated: Any, stack: Callable[..., House]
) -> None:
    house = stack(worker=False, beat=False)
    client = generated("client").AuthenticatedClient(base_url=house.url, token=house.key)
    with contextlib.closing(client.get_httpx_client()):
        refused = work(generated, client)
    assert (refused.type_.value, refused.status) == ("already-decided", 409)


def work(generated: Any, client: Any) -> Any:
    """Spawn, ask, wait, decide and consume. Return the refusal of a second answer."""
    models: ModuleType = generated("models")
    spawn, get = generated("api.sessions.sessions_spawn"), generated("api.sessions.sessions_get")
    ask, wait = generated("api.approvals.approvals_ask"), generated("api.approvals.approvals_wait")
    decide, consume = generated("api.approvals.approvals_decide"), generated("api.approvals.approvals_consume")

    order = models.SpawnBody(assignment="look", runner="external")
    session = spawn.sync(client=client, body=order, idempotency_key="one")
    assert session.child.token and session.status.value == "starting"
    again = spawn.sync_detailed(client=client, body=order, idempotency_key="one")
    assert (again.parsed.id, again.headers["Idempotency-Replayed"]) == (session.id, "true")
    assert get.sync(session.id, client=client).runner == "external"

    action = models.ApprovalAsk(
        request_id="r", tool_name="shell", permission="execute", resource="ls", session=session.id
    )
    asked = ask.sync(client=client, body=action)
    assert asked.status.value == "pending"
    heard: list[Any] = []
    waiting = Thread(target=lambda: heard.append(wait.sync(asked.id, client=client, timeout=20)))
    waiting.start()
    answer = models.ApprovalAnswer(decision=models.ApprovalAnswerDecision("approve"), digest=asked.digest)
    decided = decide.sync(asked.id, client=client, body=answer)
    waiting.join(30)
    assert (decided.status.value, heard[0].status.value, heard[0].timed_out) == ("approved", "approved", False)
    taken = consume.sync(asked.id, client=client, body=models.ApprovalConsumption(digest=asked.digest, claim="c"))
    assert taken.consumed_at is not None

    return decide.sync(asked.id, client=client, body=models.ApprovalAnswer(models.ApprovalAnswerDecision("deny")))
