"""Odd environments: each works, or is refused in one line that names the variable, with status 1 and no traceback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.config.test_production import GOOD
from tests.servers import free_port, processes
from tests.servers.embedded import CLEAN, ROOT, Embedded
from tests.waiting import wait_until
from wardroom.client import Client

pytestmark = pytest.mark.once

DEAD = "http://127.0.0.1:9"
DIGITS = "9" * 5000

REFUSED = [
    ({"WARDROOM_REDACTION": '{"patterns": {"a": "(a+)+$"}}'}, "WARDROOM_REDACTION: patterns: 'a' takes too long"),
    ({"WARDROOM_TIMINGS": '{"held_call_secs": "25"}'}, "WARDROOM_TIMINGS: held_call_secs is '25'; use a number"),
    (
        {"WARDROOM_TIMINGS": '{"held_cal_secs": 25}'},
        "there is no setting 'held_cal_secs'; did you mean 'held_call_secs'",
    ),
    ({"WARDROOM_TIMINGS": '{"sweep_secs": -1}'}, "sweep_secs is -1; use a number from 0.05 to 600"),
    ({"WARDROOM_TIMINGS": '{"claim_tries": 0}'}, "claim_tries is 0; use a number from 1"),
    ({"WARDROOM_TIMINGS": '{"claim_tries": 1.5}'}, "claim_tries is 1.5; use a whole number"),
    ({"WARDROOM_TIMINGS": '{"claim_tries": true}'}, "claim_tries is True; use a whole number"),
    ({"WARDROOM_TIMINGS": '{"ping_secs": NaN}'}, "ping_secs is nan; use a number"),
    ({"WARDROOM_TIMINGS": '{"ping_secs": 1e400}'}, "ping_secs is inf; use a number"),
    ({"WARDROOM_TIMINGS": '{"ping_secs": ' + "9" * 4000 + "}"}, "ping_secs is a number of more than 20 digits"),
    ({"WARDROOM_TIMINGS": '{"ping_secs": ' + DIGITS + "}"}, "WARDROOM_TIMINGS is not a JSON object"),
    ({"WARDROOM_TIMINGS": '{"heartbeat_secs": 60}'}, "heartbeat_secs is 60, but must be less than heartbeat_lease"),
    (
        {"WARDROOM_TIMINGS": '{"roles": {"a": {"command": "sh"}}}'},
        "command of the role 'a' is 'sh'; use a list of texts",
    ),
    ({"WARDROOM_TIMINGS": '{"roles": {"a": {"command": []}}}'}, "command of the role 'a' is []; use a list of texts"),
    ({"WARDROOM_TIMINGS": '{"roles": {"a": {"comand": ["sh"]}}}'}, "the role 'a' has an unknown entry 'comand'"),
    ({"WARDROOM_TIMINGS": '{"roles": {"a": {"env": {"A": 1}}}}'}, "env of the role 'a' is {'A': 1}; use an object of"),
    ({"WARDROOM_TIMINGS": '{"roles": ["a"]}'}, "roles is ['a']; use an object of roles"),
    ({"WARDROOM_TIMINGS": '{"child_environment": "HOME"}'}, "child_environment is 'HOME'; use a list of texts"),
    ({"WARDROOM_TIMINGS": "sweep_secs=1"}, "WARDROOM_TIMINGS is not a JSON object"),
    ({"WARDROOM_TIMINGS": "[" * 100_000}, "WARDROOM_TIMINGS is not a JSON object"),
    ({"WARDROOM_URL": "https://wardroom.example.com/tools"}, "it has a path"),
    ({"WARDROOM_URL": "https://wardroom.example.com/?x=1"}, "WARDROOM_URL"),
    ({"WARDROOM_URL": "https://me:secret@wardroom.example.com"}, "WARDROOM_URL holds a user name or password"),
    ({"WARDROOM_URL": "wardroom.example.com"}, "WARDROOM_URL"),
    ({"WARDROOM_URL": "https://[::1"}, "WARDROOM_URL is not an address"),
    ({"WARDROOM_URL": "https://wardroom.example.com:99999"}, "WARDROOM_URL is not an address"),
    ({"WARDROOM_URL": "https://wärdroom.example.com"}, "WARDROOM_URL"),
    ({"WARDROOM_URL": "https://ward room.example.com"}, "WARDROOM_URL"),
    ({"DATABASE_URL": "mysql://u:hidden@h/n"}, "DATABASE_URL names neither PostgreSQL nor SQLite"),
    ({"DATABASE_URL": "nonsense"}, "DATABASE_URL names neither PostgreSQL nor SQLite"),
    ({"DATABASE_URL": "postgres://u:hidden@h:port/n"}, "DATABASE_URL is not an address"),
    ({"REDIS_URL": "http://:hidden@h"}, "REDIS_URL begins with 'http'; use one of redis://"),
    ({"BROKER_URL": "rabbit://:hidden@h"}, "BROKER_URL begins with 'rabbit'; use amqp://"),
    ({"CLOUDAMQP_URL": "amqp://:hidden@h:port/"}, "CLOUDAMQP_URL is not an address"),
    ({"INGEST_URL": "https://:hidden@h"}, "INGEST_URL begins with 'https'; use one of amqp://, amqps://"),
    ({"LOG_LEVEL": "loud"}, "LOG_LEVEL is 'LOUD'; use one of DEBUG"),
    ({"WARDROOM_DRAIN_SECS": "-1"}, "WARDROOM_DRAIN_SECS is '-1'; use a whole number from 0"),
    ({"WARDROOM_DRAIN_SECS": DIGITS}, "WARDROOM_DRAIN_SECS is '99"),
    ({"WARDROOM_EMBEDDED": "perhaps"}, "WARDROOM_EMBEDDED is 'perhaps'; use 1 or 0"),
]
BY_UP = [
    ({"PORT": DIGITS}, "PORT=99"),
    ({"PORT": "0"}, "PORT=0 is not a port"),
    ({"HOST": "x" * 300}, "cannot listen on xx"),
    ({"WORKER_CONCURRENCY": "many"}, "WORKER_CONCURRENCY is 'many'; use a whole number from 1"),
    ({"WORKER_CONCURRENCY": "0"}, "WORKER_CONCURRENCY is '0'; use a whole number from 1"),
    ({"WARDROOM_DATA": "/tmp/a\nb"}, "WARDROOM_DATA holds a character that cannot be printed"),
]
DEPLOYED = [
    ({"WARDROOM_DB_POOL": "0"}, "WARDROOM_DB_POOL is '0'; use a whole number from 1"),
    ({"WARDROOM_DB_PREPARE": "2"}, "WARDROOM_DB_PREPARE is '2'; use 1 or 0"),
    ({"REDIS_TLS_VERIFY": "maybe"}, "REDIS_TLS_VERIFY is 'maybe'; use 1 or 0"),
]


def clean(**changed: str) -> dict[str, str]:
    return {name: os.environ[name] for name in CLEAN if name in os.environ} | changed


def refusal(*words: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=clean(**environment), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    said = done.stderr.strip()
    assert said.count("\n") == 0 and said.startswith("wardroom: "), said
    assert "hidden" not in said
    return said


def named(changed: dict[str, str]) -> str:
    return ", ".join(f"{name}={value[:40]}" for name, value in changed.items())


@pytest.mark.parametrize(("changed", "said"), REFUSED + BY_UP, ids=lambda it: named(it) if type(it) is dict else "")
def test_up_refuses_in_one_line(changed: dict[str, str], said: str, tmp_path: Path) -> None:
    place = {"WARDROOM_DATA": str(tmp_path / "var"), "PORT": str(free_port())}
    assert said in refusal("manage.py", "up", **(place | changed))


@pytest.mark.parametrize(("changed", "said"), REFUSED + DEPLOYED, ids=lambda it: named(it) if type(it) is dict else "")
def test_a_command_refuses_in_one_line(changed: dict[str, str], said: str, tmp_path: Path) -> None:
    assert said in refusal("manage.py", "check", **(GOOD | {"WARDROOM_DATA": str(tmp_path)} | changed))


@pytest.mark.parametrize("server", [["uvicorn", "config.asgi:application"], ["celery", "-A", "config", "beat"]])
def test_a_server_refuses_in_one_line(server: list[str], tmp_path: Path) -> None:
    bad = {"WARDROOM_TIMINGS": '{"sweep_secs": 0}', "WARDROOM_DATA": str(tmp_path)}
    assert "sweep_secs is 0; use a number from 0.05 to 600" in refusal("-m", *server, **GOOD, **bad)


def test_make_takes_over_the_package_index_and_nothing_else_of_pip_or_python() -> None:
    odd = {name: "x" for name in ("PIP_USER", "PIP_TARGET", "PIP_REQUIRE_VIRTUALENV", "PIP_NO_DEPS", "PIP_DRY_RUN")}
    odd |= {name: "/nowhere" for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV")}
    odd |= {"PYTHONWARNINGS": "error", "DJANGO_SETTINGS_MODULE": "no.where", "PIP_INDEX_URL": "http://index.example"}
    told = subprocess.run(
        ["make", "--no-print-directory", "-f", "-", "shown"],
        input="include Makefile\nshown:\n\t@env\n",
        cwd=ROOT, env=clean(**odd), capture_output=True, text=True, check=True,
    )  # fmt: skip
    seen = dict(line.split("=", 1) for line in told.stdout.splitlines() if re.match("PIP|PYTHON|DJANGO|VIRTUAL", line))
    assert seen == {
        "PIP_INDEX_URL": "http://index.example",
        "PIP_USER": "0",
        "PIP_REQUIRE_VIRTUALENV": "0",
        "PYTHONUTF8": "1",
    }


#: What other programs want of an environment, all at once.
ODD = {
    **{name: DEAD for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")},
    "WEB_CONCURRENCY": "3",
    "UVICORN_WORKERS": "3",
    "UVICORN_RELOAD": "1",
    "CELERY_BROKER_URL": "redis://127.0.0.1:9/0",
    "CELERY_RESULT_BACKEND": "redis://127.0.0.1:9/0",
    "DJANGO_SETTINGS_MODULE": "no.where",
    "PYTHONSTARTUP": "/nowhere.py",
    "PYTHONPATH": "/nowhere",
    "VIRTUAL_ENV": "/nowhere",
    "TMPDIR": "/nowhere",
    "LOG_LEVEL": "warning",
}


@pytest.fixture
def odd_house(only_embedded: None, request: pytest.FixtureRequest) -> Iterator[Embedded]:
    umask, more = request.param
    with Embedded(**(ODD | more)) as house:
        house.folder = house.home / "a 'folder' of \"Ünïcode\" #1 %41?"
        house.environment["WARDROOM_DATA"] = str(house.folder)
        before = os.umask(umask)
        try:
            house.begin()
        finally:
            os.umask(before)
        yield house


@pytest.mark.stack
@pytest.mark.timeout(180)
@pytest.mark.parametrize("odd_house", [(0, {"LC_ALL": "C"}), (0o077, {})], ids=["umask 0", "umask 077"], indirect=True)
def test_up_works_in_an_odd_environment_and_leaves_nothing_when_killed(odd_house: Embedded) -> None:
    house = odd_house.await_ready(90)
    assert wait_until(lambda: " ready after " in house.said(), 30)
    client = Client(house.url, house.key)
    done = client.wait_session(client.spawn("!echo 'é'; umask", role="runbook")["id"], 60)
    assert done["status"] == "completed", done
    assert house.folder.stat().st_mode & 0o777 == 0o700
    web, parts = house.part("web"), house.all_parts()
    assert processes.children(web) == []
    assert house.process is not None
    os.kill(house.process.pid, signal.SIGKILL)
    house.process.wait(10)
    wait_until(lambda: not [pid for pid in parts if processes.alive(pid)], 20, why="no service outlives up")
