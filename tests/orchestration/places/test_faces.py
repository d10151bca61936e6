"""The queue for callers and staff: 429 by REST, positions and numbers in the admin and in /readyz."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts.models import Project, User
from orchestration.models import Session
from orchestration.sessions import launch
from server import health
from tests.orchestration import stages

pytestmark = pytest.mark.django_db
ORDER = {"assignment": "count", "command": ["sleep", "60"]}


def refusal(answer: Any) -> tuple[int, str, str]:
    return answer.status_code, answer.json()["type"], answer.headers["Retry-After"]


def test_a_full_queue_is_a_429_that_says_when_to_come_back(owner: APIClient, timings: Any) -> None:
    ended = stages.ended()
    stages.queued()
    message = {"message_kind": "task", "body": "again"}
    with timings(queued_per_project=1):
        for path, body in (
            ("sessions", ORDER),
            (f"sessions/{ended.pk}/retry", {}),
            (f"sessions/{ended.pk}/messages", message),
        ):
            assert refusal(owner.post(f"/api/v1/{path}", body, format="json")) == (429, "too-many", "15")
        keyed = {"HTTP_IDEMPOTENCY_KEY": "once"}
        assert owner.post("/api/v1/sessions", ORDER, format="json", **keyed).status_code == 429
        assert Session.objects.count() == 2
    assert owner.post("/api/v1/sessions", ORDER, format="json", **keyed).status_code == 201
    assert owner.post(f"/api/v1/sessions/{ended.pk}/messages", message, format="json").status_code == 202


def boss() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("boss"))
    return client


def test_staff_see_the_position_in_the_list_and_on_the_page() -> None:
    stages.queued(title="first")
    second = stages.queued(title="second")
    client = boss()
    wanted = "waits for a place (2nd of 2 in its project)"
    assert wanted in client.get("/admin/orchestration/session/").content.decode()
    assert wanted in client.get(f"/admin/orchestration/session/{second.pk}/change/").content.decode()
    assert wanted in client.get(f"/admin/orchestration/session/{second.pk}/body/").content.decode()
    running = stages.running(title="third")
    assert "waits for a place" not in client.get(f"/admin/orchestration/session/{running.pk}/change/").content.decode()


def test_a_long_list_reads_its_positions_with_its_rows() -> None:
    client, seen = boss(), []
    client.get("/admin/orchestration/session/")  # The first request of a login does more.
    for number in (1, 12):
        for _ in range(number):
            stages.queued()
        with CaptureQueriesContext(connection) as queries:
            client.get("/admin/orchestration/session/")
        seen.append(len(queries))
    assert seen[0] == seen[1]
    assert "root<br>" in client.get("/admin/orchestration/session/").content.decode()


def test_the_front_page_and_readyz_count_places(started: Any) -> None:
    stages.queued(), stages.queued()
    assert launch.launch_next()
    assert health.places() == {"queued": 1, "in_use": 1}
    assert "1 place in use" in boss().get("/admin/").content.decode()


def test_staff_of_a_project_change_its_bound() -> None:
    project = stages.project()
    group = Group.objects.create(name="team")
    project.groups.add(group)
    person = User.objects.create_user("member", is_staff=True)
    person.groups.add(group)
    person.user_permissions.set(Permission.objects.filter(codename__in=["view_project", "change_project"]))
    client = Client()
    client.force_login(person)
    address = f"/admin/accounts/project/{project.pk}/change/"
    assert "Max processes" in client.get(address).content.decode()
    for given, kept in (("3", 3), ("", None), ("0", 0)):
        assert client.post(address, {"name": "", "max_processes": given}).status_code == 302
        assert Project.objects.get(pk=project.pk).max_processes == kept
    assert client.post(address, {"name": "", "max_processes": "-1"}).status_code == 200
