"""A private RabbitMQ, with an epmd, a cookie and a home folder of its own."""

import os
import secrets
import socket
import subprocess
from pathlib import Path

import amqp

from tests.servers.process import Server, ServerMissing, dies_with_parent, end_group, free_port, spawn
from tests.waiting import wait_until

# Debian's wrapper on the PATH changes to the user rabbitmq and to /var/lib: these scripts do not.
PROGRAMS = Path("/usr/lib/rabbitmq/bin")
ERLANG_FLAGS = "+S 1:1 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}"


class RabbitMQ(Server):
    name = "RabbitMQ"
    ready_seconds = 60.0

    def __init__(self) -> None:
        super().__init__()
        self.port, self.dist_port, self.epmd_port = free_port(), free_port(), free_port()
        self.node = f"wr{secrets.token_hex(4)}@localhost"
        self.epmd: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        if not (PROGRAMS / "rabbitmq-server").exists():
            raise ServerMissing("rabbitmq-server is not installed: run scripts/install_test_servers.sh as root")
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.local = 127.0.0.1:{self.port}\nlog.console = true\nlog.console.level = warning\n"
        )
        (self.folder / "plugins").write_text("[].\n")

    def environment(self) -> dict[str, str]:
        here = str(self.folder)
        return {
            **os.environ,
            "HOME": here,
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_MNESIA_BASE": f"{here}/mnesia",
            "RABBITMQ_LOG_BASE": f"{here}/log",
            "RABBITMQ_CONFIG_FILE": f"{here}/rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{here}/plugins",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{here}/config",
            "RABBITMQ_PID_FILE": f"{here}/pid",
            "RABBITMQ_CONF_ENV_FILE": f"{here}/none",
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RUNNING_UNDER_SYSTEMD": "true",  # So that the script becomes the server: one pid to end.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG_FLAGS,
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "LANG": "C.UTF-8",
        }

    def command(self) -> list[str]:
        return [*dies_with_parent(), str(PROGRAMS / "rabbitmq-server")]

    def start(self) -> "RabbitMQ":
        # Erlang would start an epmd that daemonises and outlives us.
        if self.epmd is None:
            command = [*dies_with_parent(), "epmd", "-port", str(self.epmd_port), "-address", "127.0.0.1"]
            with self.log.open("ab") as log:
                self.epmd = spawn(command, log=log)
            wait_until(self._epmd_answers, 10, why="epmd answering")
        super().start()
        return self

    def _epmd_answers(self) -> bool:
        names = ["epmd", "-port", str(self.epmd_port), "-names"]
        return subprocess.run(names, capture_output=True).returncode == 0

    def answers(self) -> bool:
        socket.create_connection(("127.0.0.1", self.port), timeout=2).close()
        with amqp.Connection(host=f"127.0.0.1:{self.port}", connect_timeout=2):
            return True

    def control(self, *words: str) -> str:
        """rabbitmqctl, about a second a call."""
        command = [str(PROGRAMS / "rabbitmqctl"), "--quiet", *words]
        return subprocess.run(command, env=self.environment(), capture_output=True, text=True, check=True).stdout

    def create(self, vhost: str) -> str:
        """A virtual host: the namespace of one test's queues. Returns its URL."""
        self.control("add_vhost", vhost)
        self.control("set_permissions", "-p", vhost, "guest", ".*", ".*", ".*")
        return self.url(vhost)

    def url(self, vhost: str = "") -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{vhost or '/'}"

    def queue_url(self) -> str:
        return self.url()

    def close(self) -> None:
        self.stop(immediate=True)
        if self.epmd is not None:
            end_group(self.epmd, self.stop_signal)
            self.epmd = None
        super().close()
