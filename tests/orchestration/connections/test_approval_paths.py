"""The request of a grandchild: once for the staff, with its path, whatever happens to the sessions between."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth.models import Group, Permission
from django.test import Client

from accounts import projects
from accounts.models import User
from approvals import schemas
from approvals.models import Approval
from orchestration.models import Session
from tests.orchestration.connections.conftest import Server, Spawn
from tests.orchestration.connections.test_approvals import BODY, ask, decide
from tests.waiting import wait_until


def test_a_request_at_depth_three_survives_a_middle_process_that_dies(
    server: Server, spawn: Callable[..., Spawn]
) -> None:
    tree = [spawn()]
    for _ in range(3):
        tree.append(spawn(parent=tree[-1].id))
    path = [str(each.id) for each in tree]
    with server.child(tree[1]) as middle, server.child(tree[3]) as peer:
        request = ask(peer)
        approval = Approval.objects.get()
        assert schemas.approval(approval).path == path
        middle.drop()
        wait_until(lambda: tree[1].attempt().connection_lost_at)
        decide(request)
        assert peer.hear("approval_reply")["approved"] is True
        peer.say("approval_request", id=request, body=BODY)
        peer.hear("approval_registered")
        assert peer.hear("approval_reply")["approved"] is True
    assert Approval.objects.count() == 1


def test_staff_see_the_path(server: Server, spawn: Callable[..., Spawn]) -> None:
    root = spawn()
    child = spawn(parent=root.id)
    Session.objects.filter(pk=root.id).update(title="Release <4.2>")
    with server.child(child) as peer:
        ask(peer)
    staff = Client()
    staff.force_login(User.objects.create_superuser("super"))
    page = staff.get(f"/admin/approvals/approval/{Approval.objects.get().pk}/change/").content.decode()
    facts = page.partition("data-path")[2].partition("</dd>")[0]
    above, itself = (f"/admin/orchestration/session/{each.id}/change/" for each in (root, child))
    assert 0 < facts.index(above) < facts.index(itself)
    assert "\u201cRelease &lt;4.2&gt;\u201d" in facts
    reader = User.objects.create_user("reader", is_staff=True)
    reader.user_permissions.add(Permission.objects.get(codename="view_approval"))
    projects.default().groups.add(group := Group.objects.create(name="readers"))
    reader.groups.add(group)
    staff.force_login(reader)
    page = staff.get(f"/admin/approvals/approval/{Approval.objects.get().pk}/change/").content.decode()
    assert "data-path" in page and "Release" not in page


def test_a_request_of_a_root_session_shows_no_path(server: Server, child: Spawn) -> None:
    with server.child(child) as peer:
        ask(peer)
    assert Approval.objects.get().path == [str(child.id)]
