"""`manage.py up` with real processes: files, output, refusals, and its end."""

import os
import re
import signal
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers import Redis, free_port, processes
from tests.servers.embedded import CARD, Embedded
from tests.servers.embedded_houses import migrated_file
from tests.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("only_embedded")]
SERVICES = ("web", "worker", "beat", "valkey")


@pytest.fixture(scope="module")
def house(only_embedded: Any) -> Iterator[Any]:
    with Embedded() as made:
        yield made.start()


@pytest.fixture
def own_house() -> Iterator[Any]:
    """One of a single test. Its database is migrated before: every migration ran for `house`."""
    with Embedded(migrated=migrated_file()) as made:
        yield made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# What the first start makes and says


def test_the_first_start_prints_the_card_once_before_it_is_ready(house: Any) -> None:
    wait_until(lambda: "| ready after" in house.said())
    said = house.said()
    assert [url for url, *_ in CARD.findall(said)] == [f"{house.url}/admin/"]
    assert said.index("api key: ") < said.index("| ready after")


def test_the_printed_password_opens_the_admin_and_the_key_opens_the_api(house: Any) -> None:
    with httpx.Client(base_url=house.url, follow_redirects=True) as browser:
        form = browser.get("/admin/login/").text
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)[1]
        fields = {"username": "admin", "password": house.password, "csrfmiddlewaretoken": token}
        page = browser.post("/admin/login/?next=/admin/", data=fields, headers={"Referer": house.url})
    assert page.status_code == 200 and "/admin/logout/" in page.text
    assert house.call("GET", "feed").status_code == 200
    assert house.call("GET", "feed", key="wr_key_" + "a" * 16 + "_" + "b" * 43).status_code == 401


def test_the_admin_has_its_style(house: Any) -> None:
    page = httpx.get(f"{house.url}/admin/login/").text
    sheets = re.findall(r'href="(/static/[^"]+\.css)"', page)
    assert sheets
    assert {httpx.get(house.url + sheet).status_code for sheet in sheets} == {200}


def test_only_the_owner_can_look_into_the_data_folder(house: Any) -> None:
    assert mode(house.folder) == 0o700
    assert mode(house.folder / "secrets.json") == 0o600
    assert mode(house.folder / "run") == 0o700
    assert mode(house.folder / "run" / "v.sock") == 0o700
    assert mode(house.folder / "valkey" / "valkey.conf") == 0o600
    assert mode(house.folder / "wardroom.sqlite3") == 0o600
    assert {mode(house.folder / name) for name in ("work", "supervisors", "valkey")} == {0o700}


def test_no_secret_is_in_a_command_line(house: Any) -> None:
    secrets = (house.folder / "secrets.json").read_text().split('"')
    words = [" ".join(processes.argv(pid)) for pid in house.all_parts()]
    assert not [word for word in words for secret in secrets if len(secret) > 20 and secret in word]


def test_the_private_broker_listens_on_no_port(house: Any) -> None:
    inodes = {
        os.readlink(f"/proc/{house.part('valkey')}/fd/{fd}") for fd in os.listdir(f"/proc/{house.part('valkey')}/fd")
    }
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    assert not [line for line in listening if f"socket:[{line[9]}]" in inodes]


def test_commands_by_hand_find_the_data_folder(house: Any) -> None:
    assert house.call("GET", "feed", key=minted(house, "--scope", "feed:read")).status_code == 200
    assert house.call("GET", "feed", key=minted(house, "--scope", "sessions:read")).status_code == 403


def minted(house: Any, *words: Any) -> Any:
    made = house.manage("create_api_key", "--name", "by hand", *words)
    assert made.returncode == 0, made.stderr
    return re.fullmatch(r"api key: (wr_key_\w{16}_[\w-]{43})\n", made.stdout)[1]


def test_a_key_for_nobody_is_refused_with_a_reason(house: Any) -> None:
    refused = house.manage("create_api_key", "--user", "nobody")
    assert refused.returncode == 1
    assert "Name one that exists with --user or --project" in refused.stderr


def test_commands_by_hand_do_not_mix_the_folder_with_a_named_database(house: Any) -> None:
    refused = house.manage("check", DATABASE_URL=f"sqlite:///{house.home}/other.sqlite3")
    assert refused.returncode == 1
    assert "is not set" in refused.stderr


def test_the_first_start_leaves_a_runbook_that_waits_for_a_person_and_the_second_none(own_house: Any) -> None:
    del own_house.environment["WARDROOM_DEMO"]
    own_house.start()
    (waiting,) = wait_until(lambda: asked(own_house, "approvals?status=pending"), 40)
    assert "A person has read this line" in waiting["arguments"]["command"]
    (welcome,) = asked(own_house, "sessions")
    assert welcome["title"] == "Welcome to Wardroom" and welcome["status"] == "running"
    own_house.kill_supervisor()
    own_house.start()
    assert [session["id"] for session in asked(own_house, "sessions")] == [welcome["id"]]


def asked(house: Any, path: Any) -> Any:
    return house.call("GET", path).json()["results"]


# Refusals


def test_a_second_up_on_the_same_folder_says_so(house: Any) -> None:
    second = house.manage("up", PORT=str(free_port()))
    assert second.returncode == 1
    assert f"another `up` (process {house.pid}) already runs on the data folder {house.folder}" in second.stderr
    assert house.is_ready()


def test_a_taken_port_is_told_at_once(house: Any, tmp_path: Path) -> None:
    second = house.manage("up", PORT=str(house.port), WARDROOM_DATA=str(tmp_path / "other"))
    assert second.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {house.port}: Address already in use" in second.stderr


@pytest.mark.parametrize("port", ["0", "http", "65536", "-1", "٣"])
def test_a_port_that_is_none_is_refused(house: Any, tmp_path: Path, port: str) -> None:
    refused = house.manage("up", PORT=port, WARDROOM_DATA=str(tmp_path / "other"))
    assert refused.returncode == 1
    assert f"PORT={port} is not a port" in refused.stderr


def test_a_data_folder_that_is_a_file_is_refused(house: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = house.manage("up", PORT=str(free_port()), WARDROOM_DATA=str(tmp_path / "file"))
    assert refused.returncode == 1
    assert "cannot be used" in refused.stderr and "Traceback" not in refused.stderr


def test_a_database_that_is_not_there_is_told_and_nothing_stays(own_house: Any) -> None:
    address = f"postgres://nobody@127.0.0.1:{free_port()}/nothing"
    refused = own_house.manage("up", PORT=str(own_house.port), DATABASE_URL=address)
    assert refused.returncode == 1
    assert "the database cannot be used" in refused.stderr and "Traceback" not in refused.stderr
    assert not processes.mentioning(str(own_house.folder))


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("echo 'Redis server v=6.0.16 sha=00000000:0'", "is version 6.0; 6.2 is the oldest"),
        ("echo 'hello'", "is neither a valkey-server nor a redis-server"),
        ("exit 3", "cannot be run"),
    ],
)
def test_a_broker_that_will_not_do_is_refused(house: Any, tmp_path: Path, script: str, complaint: str) -> None:
    program = tmp_path / "server"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    refused = house.manage(
        "up", PORT=str(free_port()), WARDROOM_DATA=str(tmp_path / "other"), WARDROOM_VALKEY_BIN=str(program)
    )
    assert refused.returncode == 1
    assert complaint in refused.stderr


# Whatever is killed heals


@pytest.mark.parametrize("name", SERVICES)
def test_a_killed_service_comes_back(house: Any, name: Any) -> None:
    wait_until(house.is_ready)
    before = house.kill(name)
    wait_until(lambda: house.part(name) not in (0, before))
    wait_until(house.is_ready)


def test_sweeps_go_on_after_each_service_was_killed(house: Any) -> None:
    wait_until(house.is_ready)
    parts = httpx.get(f"{house.url}/readyz").json()["parts"]
    assert parts["database"] == parts["migrations"] == parts["broker"] == parts["hub"] == {"ok": True}


# The end


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_everything_within_ten_seconds(own_house: Any, sig: Any) -> None:
    # Also where the tests themselves were started with SIGHUP ignored, which `up` would inherit and believe.
    before = signal.signal(sig, signal.SIG_DFL)
    try:
        own_house.start()
    finally:
        signal.signal(sig, before)
    ours = own_house.all_parts()
    began = time.monotonic()
    assert own_house.stop(sig) == 0
    assert time.monotonic() - began < 10
    assert not [pid for pid in ours if processes.alive(pid)]
    assert not processes.mentioning(str(own_house.folder))
    assert own_house.said().rstrip().endswith("up     | stopped")


def test_a_signal_during_the_preparation_ends_it_too(own_house: Any) -> None:
    own_house.migrated = None
    own_house.begin()
    wait_until(lambda: "bringing the database" in own_house.said())
    assert own_house.stop() == 0
    assert "ready after" not in own_house.said()
    assert not processes.mentioning(str(own_house.folder))


def test_kill_9_of_the_supervisor_ends_its_services_and_up_again_works(own_house: Any) -> None:
    own_house.start()
    ours = own_house.all_parts()
    own_house.kill_supervisor()
    wait_until(lambda: not [pid for pid in ours if processes.alive(pid)])
    key = own_house.key
    own_house.start()
    assert len(CARD.findall(own_house.said())) == 1
    assert "manage.py changepassword admin" in own_house.said()
    assert own_house.call("GET", "feed", key=key).status_code == 200


# Other surroundings


def test_it_can_listen_everywhere_and_still_hands_out_one_address(own_house: Any) -> None:
    own_house.environment["HOST"] = "0.0.0.0"
    own_house.start()
    assert CARD.findall(own_house.said())[0][0] == f"http://127.0.0.1:{own_house.port}/admin/"
    for name in ("127.0.0.1", "localhost", socket.gethostname()):
        assert httpx.get(f"{own_house.url}/admin/login/", headers={"Host": name}).status_code == 200
    assert httpx.get(f"{own_house.url}/admin/login/", headers={"Host": "evil.example"}).status_code == 400


def test_a_data_folder_too_deep_for_a_socket_gets_a_short_runtime_folder(own_house: Any) -> None:
    own_house.folder = own_house.home / ("deep " * 20) / ("d" * 100)
    own_house.environment["WARDROOM_DATA"] = str(own_house.folder)
    own_house.start()
    runtime = Path((own_house.folder / "run.path").read_text())
    assert mode(runtime) == 0o700 and mode(runtime / "v.sock") == 0o700
    assert own_house.stop() == 0
    assert not runtime.exists()


def test_a_system_server_named_by_the_environment_is_used(own_house: Any) -> None:
    own_house.environment["WARDROOM_VALKEY_BIN"] = "/usr/bin/redis-server"
    own_house.start()
    assert own_house.part("redis") and not own_house.part("valkey")


def test_what_the_environment_names_is_not_started(own_house: Any) -> None:
    with Redis() as redis:
        own_house.environment["REDIS_URL"] = redis.url()
        own_house.start()
        assert not own_house.part("valkey")
        assert len(processes.children(own_house.pid)) == 3
        made = own_house.manage("create_api_key")
        assert made.returncode == 0, made.stderr


def test_broker_files_that_cannot_be_read_are_put_aside(own_house: Any) -> None:
    own_house.start()
    assert own_house.stop() == 0
    (parts,) = own_house.folder.glob("valkey/appendonlydir/*.manifest")
    parts.write_text("this is no manifest\n")
    own_house.start()
    assert "moved to" in own_house.said()
    assert list(own_house.folder.glob("valkey.unreadable-*"))


def test_without_an_up_before_and_without_urls_every_command_refuses(own_house: Any) -> None:
    refused = own_house.manage("check")
    assert refused.returncode == 1
    assert "SECRET_KEY is not set" in refused.stderr
    assert not own_house.folder.exists()
