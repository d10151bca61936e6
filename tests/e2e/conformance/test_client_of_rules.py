"""The calls of rules, grants, plans and webhooks against a real server: each reaches the call that it names."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.e2e.conformance.conftest import Spawn
from tests.servers.stack import House
from wardroom import Client
from wardroom.client import Problem

pytestmark = [pytest.mark.stack, pytest.mark.surface, pytest.mark.timeout(300)]


@pytest.fixture
def client(house: House) -> Client:
    return Client(house.url, house.key)


def ask(client: Client, tool: str, **fields: object) -> dict[str, object]:
    return client.ask_approval(tool, {"command": "ls"}, permission="execute", resource="ls", **fields)


def test_a_rule_is_previewed_and_its_refusals_are_told(client: Client) -> None:
    """No rule is stored: every new connection to the shared server would hear of it."""
    tool = f"tool-{uuid4().hex}"
    assert ask(client, tool)["status"] == "pending"
    rule = {"name": "no", "match": {"tools": [tool]}, "outcome": "deny"}
    assert client.preview_rule(rule, days=1)["matched"] == 1
    assert list(client.rules(limit=1)) == []
    with pytest.raises(Problem, match="outcome"):
        client.add_rule("no", "perhaps")
    for call in (client.rule, client.delete_rule, lambda id: client.replace_rule(id, "no", "deny")):
        with pytest.raises(Problem, match="404"):
            call(str(uuid4()))


def test_a_grant_is_listed_and_revoked(client: Client, spawn: Spawn) -> None:
    session = spawn()
    asked = ask(client, "shell", session=session.id)
    client.decide(asked, "approve", remember={"scope": "session", "exact": True})
    [grant] = client.grants(session=session.id)
    assert ask(client, "shell", session=session.id)["status"] == "approved"
    assert client.grant(grant["id"])["id"] == grant["id"]
    client.revoke_grant(grant["id"])
    assert ask(client, "shell", session=session.id)["status"] == "pending"


def test_a_plan_lets_its_calls_through(client: Client, spawn: Spawn) -> None:
    session = spawn()
    step = {"tool_name": "shell", "permission": "execute", "resource": "ls", "arguments": {"command": "ls"}}
    asked = client.ask_plan([step], resource="look around", session=session.id)
    client.decide(asked, "approve")
    assert [each["id"] for each in client.plans(session=session.id)] == [asked["id"]]
    assert ask(client, "shell", session=session.id)["status"] == "approved"
    assert client.plan(asked["id"])["steps"][0]["used"] == 1
    assert client.revoke_plan(asked["id"])["id"] == asked["id"]


def test_many_approvals_are_decided_at_once(client: Client) -> None:
    asked = [ask(client, f"tool-{n}") for n in range(2)]
    results = client.batch_decide(asked, "deny", message="not now")["results"]
    assert [each["id"] for each in results] == [each["id"] for each in asked]
    assert {client.approval(each["id"])["status"] for each in results} == {"denied"}


def test_a_webhook_is_added_replaced_and_removed(client: Client) -> None:
    made = client.add_webhook("https://hooks.example.com/in", types=["approval_decided"])
    assert made["secret"]
    assert "secret" not in client.webhook(made["id"])
    assert client.rotate_webhook(made["id"])["secret"] != made["secret"]
    changed = client.replace_webhook(made["id"], made["url"], ["approval_requested"], enabled=False)
    assert (changed["types"], changed["enabled"]) == (["approval_requested"], False)
    assert made["id"] in {each["id"] for each in client.webhooks()}
    assert list(client.webhook_deliveries(made["id"])) == []
    assert client.delete_webhook(made["id"]) == {}
