"""Delivering by REST, durable before the answer, beside a plain DRF view that only creates the row.

One web process, as the Procfile starts it (uvicorn), called over connections that are kept by a process of its own. The
peer is a DRF view with token authentication and one `create()`, without serializer or validation, on one
process of gunicorn (sync), which serves it faster than uvicorn does. Both write to one PostgreSQL with fsync on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from benchmarks import stage
from benchmarks._calls import ROOT, calls
from benchmarks.figures import Figure, Table, main
from tests.servers.process import dies_with_parent, end_group, free_port
from tests.servers.stack import House
from tests.waiting import wait_until

PEER = ["gunicorn", "benchmarks._peer:application", "--log-level", "error", "--bind"]
CALLERS = (16, 64)
MANY = 100
PATH = "/api/v1/mailboxes/desk/messages"
SETUP = """
from rest_framework.authtoken.models import Token
from accounts.models import Project, User
from mailbox.models import Address
Address.objects.create(project=Project.objects.get(slug="default"), name="peer", last_seq=0)
print(Token.objects.create(user=User.objects.first()).key)
"""


@contextmanager
def peer(house: House) -> Iterator[tuple[int, str]]:
    """The peer on the house's own database: its port, and a token."""
    token = token_of_peer(house)
    with served(house, PEER, "/create") as port:
        yield port, token


def token_of_peer(house: House) -> str:
    """Make the tables of a peer in the house's own database, and a token."""
    manage, environment = [sys.executable, "-m", "django"], _environment(house)  # manage.py takes no other settings
    subprocess.run([*manage, "migrate", "-v0", "--skip-checks"], cwd=ROOT, env=environment, check=True, timeout=60)
    shell = subprocess.run(
        [*manage, "shell", "-v0", "-c", SETUP], cwd=ROOT, env=environment, check=True, timeout=60, capture_output=True
    )
    return shell.stdout.decode().split()[-1]


@contextmanager
def served(house: House, command: list[str], path: str, *, join: str = "127.0.0.1:{}") -> Iterator[int]:
    """Run a module that serves a peer at the place in its last argument. Yield its port once `path` wants a token."""
    port = free_port()
    with subprocess.Popen(
        [*dies_with_parent(), sys.executable, "-m", *command, join.format(port)],
        cwd=ROOT,
        env=_environment(house),
        start_new_session=True,
    ) as process:
        try:
            wait_until(lambda: httpx.get(f"http://127.0.0.1:{port}{path}", timeout=20).status_code == 401, 30)
            yield port
        finally:
            end_group(process, signal.SIGTERM)


def _environment(house: House) -> dict[str, str]:
    return {**os.environ, **house.environment, "DJANGO_SETTINGS_MODULE": "benchmarks._peer_settings"}


def measure(rounds: int) -> Table:
    """Every figure beside its peer, round by round."""
    single: dict[int, list[float]] = {count: [] for count in CALLERS}
    create: dict[int, list[float]] = {count: [] for count in CALLERS}
    batch: list[float] = []
    with stage.house(only_web=True) as house, peer(house) as (port, token):
        mine = int(house.url.rsplit(":", 1)[1])
        for _ in range(rounds):
            for count in CALLERS:
                single[count].append(calls(mine, PATH, f"Bearer {house.key}", connections=count))
                create[count].append(calls(port, "/create", f"Token {token}", connections=count))
            batch.append(MANY * calls(mine, PATH, f"Bearer {house.key}", connections=8, many=MANY))
    plain = "a plain DRF `create()` view with token auth, gunicorn sync"
    figures = [Figure(f"deliver, {count} callers", "/s", single[count], plain, create[count], 8.0) for count in CALLERS]
    limit = [25_000.0] * rounds
    several = f"deliver, {MANY} in a call, 8 callers"
    figures.append(Figure(several, "messages/s", batch, "the goal, for a machine at rest", limit, 1.0))
    figures.append(Figure("the same", "messages/s", batch, f"{plain}, one in a call", create[16]))
    return Table("rest", "Delivering by REST", figures, (__doc__ or "").split("\n\n", 1)[1])


if __name__ == "__main__":
    main(measure)
