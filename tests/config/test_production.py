"""Production refuses an incomplete configuration, and its checks find faults."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers.embedded import CLEAN, ROOT

pytestmark = pytest.mark.once

GOOD = {
    "SECRET_KEY": "k3-" + "abcdefghijklmnopqrstuvwxyz0123456789" * 2,
    "WARDROOM_URL": "https://wardroom.example.com",
    "DATABASE_URL": "postgres://w:secret@database.example.com:5432/w",
    "REDIS_URL": "rediss://:secret@redis.example.com:6380/0",
}


def manage(*words: Any, without: Any = (), **changed: Any) -> Any:
    given = {name: value for name, value in (GOOD | changed).items() if name not in without}
    environment = {name: os.environ[name] for name in CLEAN if name in os.environ} | given
    return subprocess.run(
        [sys.executable, "manage.py", *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("name", list(GOOD))
def test_a_missing_variable_is_a_refusal_that_names_it(name: Any, tmp_path: Path) -> None:
    refused = manage("check", without=[name], WARDROOM_DATA=str(tmp_path))
    assert refused.returncode == 1
    assert f"{name} is not set" in refused.stderr


@pytest.mark.parametrize("server", [["uvicorn", "config.asgi:application"], ["celery", "-A", "config", "worker"]])
def test_the_servers_refuse_too(server: Any) -> None:
    kept = {name: os.environ[name] for name in CLEAN if name in os.environ}
    environment = kept | {k: v for k, v in GOOD.items() if k != "DATABASE_URL"}
    refused = subprocess.run(
        [sys.executable, "-m", *server], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert refused.returncode != 0
    assert "DATABASE_URL is not set" in refused.stderr + refused.stdout


def test_debug_is_refused_in_production() -> None:
    refused = manage("check", WARDROOM_DEBUG="1")
    assert refused.returncode == 1
    assert "WARDROOM_DEBUG" in refused.stderr


def test_a_good_configuration_passes_every_check() -> None:
    passed = manage("check", "--deploy", "--fail-level", "WARNING")
    assert passed.returncode == 0, passed.stderr


@pytest.mark.parametrize(
    ("changed", "finding"),
    [
        ({"DATABASE_URL": "sqlite:////tmp/w.sqlite3"}, "wardroom.E001"),
        ({"BROKER_URL": "filesystem://"}, "wardroom.E002"),
        ({"BROKER_URL": "sqla+sqlite:////tmp/q.sqlite3"}, "wardroom.E002"),
        ({"WARDROOM_URL": "http://wardroom.example.com"}, "wardroom.W003"),
        ({"ALLOWED_HOSTS": "*"}, "wardroom.W004"),
        ({"WARDROOM_EMBEDDED": "1"}, "wardroom.E005"),
        ({"REDIS_TLS_VERIFY": "0"}, "wardroom.I006"),
        ({"WARDROOM_STATIC_ROOT": "/nowhere"}, "wardroom.I007"),
    ],
)
def test_each_check_finds_its_fault(changed: Any, finding: str) -> None:
    found = manage("check", "--deploy", "--fail-level", "INFO", **changed)
    assert found.returncode == 1
    assert finding in found.stderr
