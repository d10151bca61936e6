"""The desk of unknown outcomes: by REST, on the page of the approval, and in the queue."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from approvals.models import Approval
from approvals.outcomes import unknown
from tests.approvals.admin_page import page_of, text_of
from tests.approvals.conftest import Asked, Browser
from tests.approvals.outcomes.conftest import Taken

pytestmark = pytest.mark.django_db

QUEUE = "/admin/approvals/approval/"
ACTION = {"tool_name": "shell", "permission": "execute", "resource": "ls", "arguments": {"command": "ls"}}


def settle(client: Client, approval: Approval, settled_as: str, note: str = "the row is not there") -> Any:
    address = reverse("admin:approvals_approval_outcome", args=[approval.id])
    return client.post(address, {"settled_as": settled_as, "note": note}, follow=True)


def taken_by_rest(key: Any, request_id: str) -> str:
    asked = key.post(body=ACTION | {"request_id": request_id}).json()
    key.post(f"/{asked['id']}/decide", {"decision": "approve", "digest": asked["digest"]})
    assert key.post(f"/{asked['id']}/consume", {"digest": asked["digest"], "claim": "c"}).status_code == 200
    return str(asked["id"])


def test_the_whole_way_by_rest(key: Any) -> None:
    id = taken_by_rest(key, "r-1")
    said = {"outcome": "unknown", "detail": "restarted", "probe": {"rows": 0}}
    assert key.post(f"/{id}/outcome", said).json()["outcome"] == "unknown"
    assert [each["id"] for each in key.get(outcome="unknown").json()["results"]] == [id]
    known = key.get(f"/{id}/outcome").json()
    assert (known["notes"][0]["detail"], known["notes"][0]["probe"]) == ("restarted", {"rows": 0})
    assert key.post(body=ACTION | {"request_id": "r-2"}).json()["repeat_warning"]["approval_id"] == id
    wrong = key.post(f"/{id}/unknown-outcome", {"settled_as": "perhaps", "note": "x"})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "settled_as")
    settled = key.post(f"/{id}/unknown-outcome", {"settled_as": "did_not_run", "note": "no row"})
    assert (settled.status_code, settled.json()["outcome_settled_as"]) == (200, "did_not_run")
    other = key.post(f"/{id}/unknown-outcome", {"settled_as": "ran", "note": "a row"})
    assert (other.status_code, other.json()["type"]) == (409, "already-settled")
    assert key.get(outcome="unknown").json()["results"] == []
    assert key.post(body=ACTION | {"request_id": "r-3"}).json()["repeat_warning"] is None
    late = key.post(f"/{id}/outcome", {"outcome": "ran", "claim": "c"}).json()
    assert (late["outcome"], late["outcome_settled_as"]) == ("ran", "did_not_run")
    assert [each["kind"] for each in key.get(f"/{id}/outcome").json()["notes"]] == ["reported", "settled", "reported"]


def test_staff_see_what_is_known_and_settle_it(desk: Client, taken: Taken, alice: User) -> None:
    approval = taken()
    assert unknown.note(approval.session, approval.request_id, "<i>killed</i>", {"exists": False})
    assert f"/{approval.id}/change/" in text_of(desk.get(f"{QUEUE}?status=unknown"))
    shown = text_of(desk.get(page_of(approval)))
    assert "Nobody knows if this ran." in shown
    assert 'by the claim <span class="wr-mono">mine</span>' in shown
    assert "&lt;i&gt;killed&lt;/i&gt;" in shown
    assert "&quot;exists&quot;: false" in shown
    assert "approval_consumed" in shown
    refused = settle(desk, approval, "did_not_run", "")
    assert refused.status_code == 422
    done = text_of(settle(desk, approval, "did_not_run"))
    assert "It is settled. It did not run." in done
    assert "the row is not there" in done
    assert 'name="settled_as"' not in done
    assert f"/{approval.id}/change/" not in text_of(desk.get(f"{QUEUE}?status=unknown"))
    assert "Too late: it is settled." in text_of(settle(desk, approval, "ran"))


def test_a_reader_sees_it_without_the_claim_and_cannot_settle_it(taken: Taken, viewer: User, browser: Browser) -> None:
    approval = taken()
    unknown.attempt_ended(approval.session, 1, in_order=False)
    shown = text_of(browser(viewer).get(page_of(approval)))
    assert "Nobody knows if this ran." in shown
    assert 'class="wr-mono">mine' not in shown
    assert 'name="settled_as"' not in shown
    settle(browser(viewer), approval, "ran")
    approval.refresh_from_db()
    assert approval.outcome == "unknown"


def test_a_run_without_a_report_is_told_at_once_beside_the_same_action(
    desk: Client, taken: Taken, asked: Asked, approved: Asked
) -> None:
    first, again, other = taken(), asked(), asked(resource="another one")
    approved()  # Approved, and not taken.
    shown = text_of(desk.get(page_of(again)))
    assert "No report of its end has come yet" in shown and page_of(first) in shown
    assert "No report of its end has come yet." in text_of(desk.get(page_of(first)))
    assert "data-open-run" not in text_of(desk.get(page_of(other)))
    assert text_of(desk.get(QUEUE)).count("no report yet") == 1
    Approval.objects.filter(pk=first.pk).update(outcome="ran", outcome_reported_at=first.consumed_at)
    assert "data-open-run" not in text_of(desk.get(page_of(again))) + text_of(desk.get(QUEUE))


def test_a_repeated_action_is_marked_on_its_page_and_in_the_queue(desk: Client, taken: Taken, asked: Asked) -> None:
    first = taken()
    unknown.attempt_ended(first.session, 1, in_order=False)
    again = asked()
    shown = text_of(desk.get(page_of(again)))
    assert "This very action may have run already." in shown
    assert page_of(first) in shown
    assert "may have run already" in text_of(desk.get(QUEUE))
