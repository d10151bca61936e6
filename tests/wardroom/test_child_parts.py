"""The small parts of the SDK: identity, memory, reconnection, and decisions."""

import os
import random
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from wardroom.admitted import AdmittedSet
from wardroom.child import Child, Ended
from wardroom.client import End, Event, Problem, Resync, ServerSentEvents
from wardroom.connection import LONGEST_PAUSE, pause_before
from wardroom.decision import Decision, NotConsumed
from wardroom.identity import Identity, NotAChild, is_loopback

ENV = {"WARDROOM_URL": "https://w.example/base/", "WARDROOM_SESSION": "s 1", "WARDROOM_ATTEMPT": "2"}


def test_the_token_comes_from_a_descriptor_and_is_read_once() -> None:
    read, write = os.pipe()
    os.write(write, b"wr_child_x\n")
    os.close(write)
    env = {**ENV, "WARDROOM_TOKEN_FD": str(read)}
    identity = Identity.from_env(env)
    assert identity == Identity("https://w.example/base", "s 1", 2, "wr_child_x")
    assert "WARDROOM_TOKEN_FD" not in env
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.read(read, 1)


def test_the_token_comes_from_a_file_or_the_environment_which_then_forgets_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from file\n")
    assert Identity.from_env({**ENV, "WARDROOM_TOKEN_FILE": str(tmp_path / "token")}).token == "from file"
    env = {**ENV, "WARDROOM_TOKEN": "plain"}
    assert Identity.from_env(env).token == "plain"
    assert "WARDROOM_TOKEN" not in env


@pytest.mark.parametrize("missing", ["WARDROOM_URL", "WARDROOM_SESSION", "WARDROOM_ATTEMPT", "WARDROOM_TOKEN"])
def test_without_all_of_it_this_is_no_child(missing: str) -> None:
    env = {**ENV, "WARDROOM_TOKEN": "t"}
    del env[missing]
    with pytest.raises(NotAChild):
        Identity.from_env(env)


@pytest.mark.parametrize(
    "odd",
    [
        {"WARDROOM_URL": "http://[::1"},
        {"WARDROOM_URL": "w.example"},
        {"WARDROOM_URL": "ftp://w.example"},
        {"WARDROOM_ATTEMPT": "9" * 5000},
        {"WARDROOM_ATTEMPT": "²"},
        {"WARDROOM_TOKEN_FILE": "/nowhere"},
    ],
)
def test_an_odd_environment_is_told_as_no_child(odd: dict[str, str]) -> None:
    with pytest.raises(NotAChild, match="|".join(odd)):
        Identity.from_env({**ENV, "WARDROOM_TOKEN": "t", **odd})


def test_a_descriptor_that_holds_nothing_is_told() -> None:
    with pytest.raises(NotAChild, match="descriptor 987"):
        Identity.from_env({**ENV, "WARDROOM_TOKEN_FD": "987"})


def test_the_address_of_the_connection_and_no_token_in_it_or_in_the_repr() -> None:
    identity = Identity("https://w.example/base", "s 1", 2, "hidden")
    assert identity.websocket_url == "wss://w.example/base/ws/children/s%201"
    assert "hidden" not in repr(identity)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("w.example", False),
    ],
)
def test_no_proxy_stands_between_a_child_and_its_own_machine(host: str, local: bool) -> None:
    assert is_loopback(host) is local


def test_admitted_ids_are_bounded_and_come_back_from_their_list() -> None:
    admitted = AdmittedSet(limit=3)
    assert [admitted.add(id) for id in "abca"] == [True, True, True, False]
    assert admitted.add("d")
    assert list(admitted) == ["b", "c", "d"]
    assert "a" not in admitted
    again = AdmittedSet(list(admitted), limit=3)
    assert list(again) == list(admitted)
    assert "c" in again
    assert len(AdmittedSet(map(str, range(5000)))) == 4096


def test_a_decision_is_neither_true_nor_false() -> None:
    for state in ("approved", "denied", "pending"):
        with pytest.raises(TypeError, match=r"\.state"):
            bool(Decision("r", state))
    assert Decision("r", "approved").approved
    assert not Decision("r", "expired").approved


async def test_a_decision_of_no_connection_cannot_be_consumed() -> None:
    with pytest.raises(NotConsumed):
        async with Decision("r", "approved").consumed():
            raise AssertionError("the tool ran")


def test_the_pause_before_coming_back_depends_on_why_the_connection_closed() -> None:
    dice = random.Random(1)
    restarts = [pause_before(1012, "", 0, dice) for _ in range(200)]
    assert 0.5 <= min(restarts) < 2
    assert 13 < max(restarts) <= LONGEST_PAUSE
    assert 7 <= pause_before(4429, "come back in 7 seconds", 0, dice) <= 8
    assert 2 <= pause_before(1013, "retry after 2 seconds: the database does not answer", 0, dice) <= 2.5
    assert max(pause_before(1011, "retry after 2 seconds: internal error", 5, dice) for _ in range(200)) > 10
    assert all(pause_before(1006, "", 0, dice) <= 0.5 for _ in range(50))
    assert all(pause_before(1006, "", 99, dice) <= LONGEST_PAUSE for _ in range(50))
    assert max(pause_before(1006, "", 4, dice) for _ in range(200)) > 6
    assert max(pause_before(1006, "", 4, dice, longest=3) for _ in range(200)) <= 3


def test_a_stream_of_events_is_read_by_the_book() -> None:
    reading = ServerSentEvents()
    lines = [
        ": hello\n",
        "\n",
        "id: 5\r\n",
        "event: x\n",
        'data: {"type":\n',
        'data: "x"}\n',
        "\n",
        'data:{"type": "y"}\n',
    ]
    told = [event for line in [*lines, "\n", "data: cut"] if (event := reading.feed(line)) is not None]
    assert told == [{"type": "x"}, {"type": "y"}]
    assert [type(event) for event in told] == [Event, Event]
    assert reading.cursor == "5"


def test_the_events_of_a_stream_itself_have_types_of_their_own() -> None:
    reading = ServerSentEvents()
    lines = ["event: resync", 'data: {"cursor": 7}', "", "event: end", 'data: {"reason": "gone"}', ""]
    resync, end = [event for line in lines if (event := reading.feed(line)) is not None]
    assert isinstance(resync, Resync) and (resync["type"], resync["cursor"]) == ("resync", 7)
    assert isinstance(end, End) and (end["type"], end["payload"]) == ("end", {"reason": "gone"})


def test_a_problem_is_named_by_the_last_word_of_its_type() -> None:
    problem = Problem(409, {"type": "https://w.example/problems/already-decided", "detail": "too late"})
    assert problem.type == "already-decided"
    assert "too late" in str(problem)
    assert Problem(409, {"type": "already-decided"}).type == "already-decided"


@pytest.mark.parametrize(
    ("status", "cure"),
    [
        (404, "Upgrade and Connection"),
        (426, "Upgrade and Connection"),
        (401, "requires its own login"),
        (502, "cannot answer now"),
    ],
)
async def test_an_http_answer_in_the_place_of_a_websocket_is_told_with_its_status_and_a_cure(
    status: int, cure: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def nobody(socket: ServerConnection) -> None:
        raise AssertionError("the handshake was refused")

    async with serve(nobody, "127.0.0.1", 0, process_request=lambda line, _: line.respond(status, "no")) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        with pytest.raises(Ended, match=f"HTTP {status} instead of a WebSocket at ws://127.0.0.1:{port}/.*{cure}"):
            async with Child(Identity(f"http://127.0.0.1:{port}", "s", 1, "t"), unreachable_secs=0.3):
                raise AssertionError("there is no Wardroom")
    assert f"HTTP {status} instead of a WebSocket" in caplog.text
