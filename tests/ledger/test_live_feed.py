"""The stream of the admin pages: staff, same origin, own projects. It only says that something changed."""

from __future__ import annotations

import itertools
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.ledger.reading import Frame, frames, stream
from tests.servers.stack import House

Stack = Callable[..., House]
pytestmark = pytest.mark.stack
LIVE = "/admin/live/feed"
SAME = {"Sec_Fetch_Site": "same-origin"}
TEAM = """
from django.contrib.auth.models import Group
from accounts.models import Project, User
group = Group.objects.create(name='team')
Project.objects.create(slug='team').groups.add(group)
user = User.objects.create_user('member', password='a-long-password', is_staff=True)
user.groups.add(group)
"""


@pytest.fixture
def house(stack: Stack) -> House:
    timings = {"stream_beat_secs": 0.5, "hub_poll_secs": 1, "page_recheck_secs": 0.5}
    return stack(worker=False, beat=False, timings=timings)


@contextmanager
def signed_in(house: House, name: str = "", password: str = "") -> Iterator[httpx.Client]:
    with httpx.Client(base_url=house.url, timeout=20) as client:
        page = client.get("/admin/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token
        form = {"username": name or house.admin_name, "password": password or house.admin_password}
        answer = client.post("/admin/login/?next=/admin/", data={**form, "csrfmiddlewaretoken": token.group(1)})
        assert answer.status_code == 302
        yield client


def write(house: House, code: str, project: str = "default") -> None:
    prelude = "from accounts.models import Project; from ledger import unit_of_work; "
    prelude += f"p = Project.objects.get(slug='{project}').pk"
    house.manage("shell", "--no-imports", "-c", f"{prelude}\nwith unit_of_work.transaction():\n    {code}")


def changes(told: Iterator[Frame]) -> Iterator[str]:
    return (frame.data for frame in told if frame.event == "change")


def test_a_page_hears_of_its_topics_and_of_nothing_else(house: House) -> None:
    session, approval = uuid.uuid4(), uuid.uuid4()
    with signed_in(house) as client, stream(client, f"{LIVE}?topics=approvals,approval:{approval}", **SAME) as answer:
        told = frames(answer)
        next(told)
        write(house, f"unit_of_work.event(p, 'session_started', session='{session}')")
        write(
            house, f"unit_of_work.event(p, 'approval_requested', {{'approval_id': '{approval}'}}, session='{session}')"
        )
        assert next(changes(told)) == f"approval:{approval} approvals"


def test_a_childs_own_event_moves_its_session_only_whatever_it_calls_itself(house: House) -> None:
    session = uuid.uuid4()
    fields = f"session='{session}', attempt=1, seq=1"
    with signed_in(house) as client:
        topics = f"approvals,sessions,session:{session},mailbox"
        with stream(client, f"{LIVE}?topics={topics}", **SAME) as answer:
            told = frames(answer)
            next(told)
            write(house, f"unit_of_work.child_event(p, 'approval_requested', {{}}, {fields})")
            assert next(changes(told)) == f"session:{session} sessions"


def test_nobody_children_keys_and_other_sites_get_no_stream(house: House) -> None:
    with signed_in(house) as client:
        for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://evil"}):
            assert client.get(LIVE, headers=headers).status_code == 403
    assert httpx.get(house.url + LIVE).status_code == 401
    assert house.client().get(LIVE).status_code == 401
    assert httpx.get(house.url + LIVE, cookies={"sessionid": "made-up"}).status_code == 401


def test_staff_hear_of_their_own_projects_only_and_a_new_wall_ends_the_stream(house: House) -> None:
    house.manage("shell", "--no-imports", "-c", TEAM)
    member = signed_in(house, "member", "a-long-password")
    with member as client, stream(client, f"{LIVE}?topics=sessions", **SAME) as answer:
        told = frames(answer)
        next(told)
        write(house, f"unit_of_work.event(p, 'x', session='{uuid.uuid4()}')")
        write(house, f"unit_of_work.event(p, 'y', session='{uuid.uuid4()}')", project="team")
        assert next(changes(told)) == "sessions"
        assert not list(changes(itertools.islice(told, 3)))
        house.manage(
            "shell",
            "--no-imports",
            "-c",
            "from accounts.models import Project; Project.objects.get(slug='team').groups.clear()",
        )
        assert not list(changes(told))


def test_signing_out_ends_the_stream(house: House) -> None:
    with signed_in(house) as client, stream(client, f"{LIVE}?topics=sessions", **SAME) as answer:
        told = frames(answer)
        next(told)
        started = time.monotonic()
        house.manage(
            "shell",
            "--no-imports",
            "-c",
            "from django.contrib.sessions.models import Session; Session.objects.all().delete()",
        )
        list(told)
        assert time.monotonic() - started < 15
        assert client.get(LIVE, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 401
