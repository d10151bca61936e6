"""Two web processes that create one row at once: the call that loses runs again, and finds the row."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

import pytest

from accounts import credentials, projects
from accounts.models import FormerName, IdempotencyKey
from tests.people import owner

CALL = """
import json, sys
import django
django.setup()
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from accounts.idempotency import idempotent
from accounts.models import FormerName
from accounts.views import ProjectView
from ledger import unit_of_work

token, key = sys.argv[1:]
tries = 0

class Names(ProjectView):
    permission_classes = []

    @idempotent(still=lambda *_args: None)
    def post(self, request):
        global tries
        tries += 1
        is_there = FormerName.objects.filter(word="user:7").exists()
        if tries == 1:
            print("looked", flush=True)
            sys.stdin.readline()
        if not is_there:
            with unit_of_work.transaction():
                FormerName.objects.create(word="user:7", name="ann")
        return Response({"made": not is_there}, status=200 if is_there else 201)

headers = {"Authorization": f"Bearer {token}"} | ({"Idempotency-Key": key} if key else {})
answer = Names.as_view()(APIRequestFactory().post("/", {}, format="json", headers=headers))
print(json.dumps([answer.status_code, answer.data, tries]), flush=True)
"""


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("keys", [("", ""), ("one", "two")], ids=["without keys", "with keys"])
def test_the_call_that_loses_runs_again(keys: tuple[str, str], backend: str) -> None:
    if keys[0] and backend == "sqlite":
        pytest.skip("its one write lock is held by a keyed call from the start: no race can be lost")
    _, token = credentials.mint(kind="api", project=projects.default(), user=owner())
    ends = []
    with ExitStack() as running:
        calls = [running.enter_context(calling(token, key)) for key in keys]
        for call in calls:
            assert said(call) == "looked"
        for call in calls:
            assert call.stdin is not None
            call.stdin.write("go\n")
            call.stdin.flush()
        for call in calls:
            ends.append(json.loads(said(call)))
            assert call.wait(30) == 0
    assert sorted(ends) == [[200, {"made": False}, 2], [201, {"made": True}, 1]]
    assert FormerName.objects.count() == 1
    assert IdempotencyKey.objects.count() == len([key for key in keys if key])


def calling(token: str, key: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", CALL, token, key], stdin=pipe, stdout=pipe, text=True)


def said(call: subprocess.Popen[str]) -> Any:
    assert call.stdout is not None
    return call.stdout.readline().strip()
