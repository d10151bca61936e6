"""The guard against calls to our own network: spellings of addresses, names that lead there, and names that change."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from typing import Any

import pytest

from ledger.webhooks import addresses
from ledger.webhooks.exchange import MOST_BODY, READ_BYTES, Answer, Exchange
from tests.ledger.webhooks.receiver import receiving

pytestmark = pytest.mark.once

PUBLIC = [
    "https://hooks.example/x",
    "https://hooks.example:8443/x?y=1",
    "https://HOOKS.example./",
    "https://93.184.215.14/",
    "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/",
    "https://xn--bcher-kva.example/",
]
REFUSED = [
    "", "hooks.example", "http://hooks.example/", "ftp://hooks.example/", "file:///etc/passwd", "gopher://x/", "https://",
    "http://hooks.example:443/", "https://hooks%2eexample/",
    "https:///x", "https://user@hooks.example/", "https://user:pw@hooks.example/", "https://a@127.0.0.1/",
    "https://hooks.example#@127.0.0.1/", "https://hooks.example/#x", "https://hooks.example:80/", "https://hooks.example:22/",
    "https://hooks.example:0/", "https://hooks.example:99999/", "https://hooks.example:x/", "https://hooks.example\\@127.0.0.1/",
    "https://hooks.example /", "https://hooks\u3002example/", "https://b\u00fccher.example/", "https://\uff11\uff12\uff17.0.0.1/",
    "https://hooks.example\r\nX: y/", "https://hooks.example\t/", "https://127.0.0.1/", "https://127.0.0.1./", "https://127.1/",
    "https://127.0.1/", "https://2130706433/", "https://017700000001/", "https://0177.0.0.1/", "https://0x7f000001/",
    "https://0x7f.0x0.0x0.0x1/", "https://0/", "https://0.0.0.0/", "https://10.0.0.1/", "https://172.16.0.1/",
    "https://192.168.1.1/", "https://100.64.0.1/", "https://169.254.169.254/latest/meta-data/", "https://192.0.0.8/",
    "https://192.0.2.1/", "https://198.18.0.1/", "https://198.51.100.1/", "https://203.0.113.1/", "https://224.0.0.1/",
    "https://240.0.0.1/", "https://255.255.255.255/", "https://[::1]/", "https://[::]/", "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/", "https://[::127.0.0.1]/", "https://[64:ff9b::7f00:1]/", "https://[64:ff9b:1::1]/",
    "https://[fe80::1]/", "https://[fe80::1%25eth0]/", "https://[fe80::1%eth0]/", "https://[fc00::1]/", "https://[fd12::1]/",
    "https://[ff02::1]/", "https://[2002:7f00:1::]/", "https://[2001:0:7f00:1::]/", "https://[2001:db8::1]/",
    "https://192.31.196.1/", "https://192.52.193.1/", "https://192.88.99.1/", "https://192.175.48.1/", "https://[3fff::1]/",
    "https://[2620:4f:8000::1]/", "https://[2001:1::1]/",
    "https://[fec0::1]/", "https://[100::1]/", "https://[::1", "https://hooks.example/" + "x" * 2000,
]  # fmt: skip


@pytest.mark.parametrize("url", PUBLIC)
def test_a_public_receiver_is_taken(url: str) -> None:
    assert addresses.parse(url, private=False).is_secure


@pytest.mark.parametrize("url", REFUSED)
def test_an_address_that_is_not_a_public_one_is_refused(url: str) -> None:
    with pytest.raises(addresses.Refused):
        addresses.parse(url, private=False)


@pytest.mark.parametrize("url", ["http://localhost:8080/", "http://10.0.0.1/", "https://[::1]:1/", "http://[fd12::1]/"])
def test_a_setting_allows_private_networks(url: str) -> None:
    assert addresses.parse(url, private=True).path == "/"


def test_an_address_with_a_zone_is_of_this_network() -> None:
    addresses.check(ip_address("2606:2800:21f:cb07:6820:80da:af6b:8b2c"), private=False)
    with pytest.raises(addresses.Refused):
        addresses.check(ip_address("2606:2800:21f:cb07:6820:80da:af6b:8b2c%eth0"), private=False)


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "224.0.0.1", "0.0.0.0", "::", "::ffff:127.0.0.1"])
def test_no_setting_allows_link_local_and_multicast(address: str) -> None:
    with pytest.raises(addresses.Refused):
        addresses.check(ip_address(address), private=True)


class Resolver:
    """A name server whose answers change, as those of an attacker do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
        self.asked = 0
        self.answers = answers
        self.real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "hooks.example":
            return self.real(host, port, *args, **kwargs)
        given = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [found for each in given for found in self.real(each, port, *args, **kwargs)]


def call(url: str, *, private: bool) -> Answer:
    async def post() -> Answer:
        exchange, answer = Exchange(addresses.parse(url, private=private), private=private), Answer()
        try:
            async with asyncio.timeout(20):
                await exchange.open()
                await exchange.post([], b"{}", answer)
        finally:
            exchange.close()
        return answer

    return asyncio.run(post())


@pytest.mark.parametrize("framing", [("Content-Length", "200000"), ("Transfer-Encoding", "chunked")])
def test_of_a_long_answer_no_more_than_the_bound_is_kept(framing: tuple[str, str]) -> None:
    piece = b"x" * 1000 if framing[0] == "Content-Length" else b"3e8\r\n" + b"x" * 1000 + b"\r\n"

    def flood(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header(*framing)
        handler.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(200):
                handler.wfile.write(piece)
        handler.close_connection = True

    with receiving() as receiver:
        receiver.answers = [flood]
        answer = call(receiver.url, private=True)
    assert (answer.status, answer.is_whole, answer.can_go_on) == (200, False, False)
    assert MOST_BODY < len(answer.body) <= MOST_BODY + READ_BYTES


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("text/HTML; charset=words", "text/html"),
        ("application/json", "application/json"),
        ("text/html<words>", ""),
        ("some words", ""),
        ("x" * 50 + "/y", ""),
    ],
)
def test_the_media_type_of_an_answer_is_one_and_no_words(given: str, kept: str) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", given)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with receiving() as receiver:
        receiver.answers = [answer]
        assert call(receiver.url, private=True).media_type == kept


@pytest.mark.parametrize("found", [["127.0.0.1"], ["93.184.215.14", "127.0.0.1"], ["::1"], ["::ffff:10.0.0.1"]])
def test_a_name_that_leads_inside_is_refused_even_if_it_leads_outside_too(
    monkeypatch: pytest.MonkeyPatch, found: list[str]
) -> None:
    Resolver(monkeypatch, found)
    with pytest.raises(addresses.Refused):
        call("https://hooks.example/", private=False)


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    # The second answer of the name server leads to the receiver of this test: nothing may ask for it.
    with receiving() as inside:
        monkeypatch.setattr(addresses, "PORTS", {inside.port})
        resolver = Resolver(monkeypatch, ["93.184.215.14"], ["127.0.0.1"])
        connected: list[Any] = []

        async def connect(host: str, port: int, **kwargs: Any) -> Any:
            connected.append((host, kwargs["server_hostname"]))
            raise OSError("no network here")

        monkeypatch.setattr(asyncio, "open_connection", connect)
        with pytest.raises(OSError, match="no network here"):
            call(f"https://hooks.example:{inside.port}/", private=False)
        assert (resolver.asked, connected) == (1, [("93.184.215.14", "hooks.example")])
        assert inside.connections == 0


def test_of_a_name_with_many_addresses_few_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    Resolver(monkeypatch, [f"93.184.215.{number}" for number in range(20)])
    tried: list[str] = []

    async def connect(host: str, port: int, **kwargs: Any) -> Any:
        tried.append(host)
        raise OSError("no network here")

    monkeypatch.setattr(asyncio, "open_connection", connect)
    with pytest.raises(OSError, match="no network here"):
        call("https://hooks.example/", private=False)
    assert len(tried) == addresses.MOST_TRIED == 3


def test_tls_checks_the_name_at_the_checked_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    from tests.ledger.webhooks.certificates import made_for

    certificate, authority = made_for("hooks.example", tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    Resolver(monkeypatch, ["127.0.0.1"])
    with receiving(server) as receiver:
        assert call(f"https://hooks.example:{receiver.port}/", private=True).status == 204
        with pytest.raises(ssl.SSLCertVerificationError):
            call(f"https://127.0.0.1:{receiver.port}/", private=True)
        assert len(receiver.got) == 1
