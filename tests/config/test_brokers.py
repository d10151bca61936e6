"""One Redis address, as redis-py and as kombu read it."""

import subprocess
from collections.abc import Iterator
from typing import Any

import kombu
import pytest
import redis

from config import brokers
from tests.servers import Redis, Valkey

pytestmark = pytest.mark.once


class TLSRedis(Redis):
    """A Redis with a self-signed certificate, as on some platforms."""

    name = "Redis (TLS)"

    def prepare(self) -> None:
        files = ["-keyout", self.folder / "key.pem", "-out", self.folder / "cert.pem"]
        subject = ["-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=elsewhere"]
        subprocess.run(["openssl", "req", "-x509", *subject, *files], check=True, capture_output=True)

    def address(self) -> list[Any]:
        files = ["--tls-cert-file", str(self.folder / "cert.pem"), "--tls-key-file", str(self.folder / "key.pem")]
        return ["--port", "0", "--tls-port", str(self.port), *files, "--tls-auth-clients", "no"]

    def url(self, database: int = 0) -> str:
        return f"rediss://:{self.password}@127.0.0.1:{self.port}/{database}"

    def client(self, database: int = 0) -> Any:
        return redis.Redis.from_url(brokers.redis_url(self.url(database), verify=False))


@pytest.fixture(scope="module")
def tls_redis() -> Iterator[Any]:
    with TLSRedis() as server:
        yield server


def queue_answers(url: Any) -> bool:
    with kombu.Connection(url, connect_timeout=2) as broker:
        broker.ensure_connection(max_retries=1, interval_start=0)
        queue = broker.SimpleQueue("test")
        queue.put("hello")
        return queue.get(timeout=5).payload == "hello"


def test_a_certificate_that_nobody_knows_is_refused(tls_redis: Any) -> None:
    url = brokers.redis_url(tls_redis.url())
    with pytest.raises(redis.ConnectionError, match="certificate verify failed"):
        redis.Redis.from_url(url).ping()
    with pytest.raises(kombu.exceptions.OperationalError, match="certificate verify failed"):
        queue_answers(brokers.queue_url(url))


def test_it_is_taken_where_that_was_asked_for(tls_redis: Any) -> None:
    url = brokers.redis_url(tls_redis.url(), verify=False)
    assert redis.Redis.from_url(url).ping()
    assert queue_answers(brokers.queue_url(url))


def test_what_the_address_itself_says_about_certificates_stays(tls_redis: Any) -> None:
    url = tls_redis.url() + "?ssl_cert_reqs=none"
    assert brokers.redis_url(url) == url


def test_a_unix_socket_with_a_password_is_reached_by_both() -> None:
    with Valkey() as server:
        url = f"unix://{server.socket}?db=3&password={server.password}"
        assert redis.Redis.from_url(brokers.redis_url(url)).ping()
        assert queue_answers(brokers.queue_url(url))


def test_a_plain_address_is_the_same_for_both() -> None:
    assert brokers.queue_url(brokers.redis_url("redis://:p@host:6379/1")) == "redis://:p@host:6379/1"
