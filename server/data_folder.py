"""The data folder of an embedded Wardroom: its secrets, its paths, and the URLs of its parts.

`manage.py up` creates the folder. Every other command that is run by hand on the same machine finds it through
`load()`. No other code knows whether it is embedded or deployed: only URLs differ.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import re
import secrets
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

from server import private_files

BASE_DIR = Path(__file__).resolve().parent.parent

URLS = ("DATABASE_URL", "REDIS_URL", "BROKER_URL", "CLOUDAMQP_URL")

# The kernel cuts a unix socket's path at 107 bytes. The URL forms of kombu and redis-py disagree about quoting, so a
# path that needs quoting gets no socket either.
LONGEST_SOCKET_PATH = 107
PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")


class EmbeddedError(Exception):
    """A problem with the data folder that a person must solve. The text gives the cause and the cure."""


@dataclasses.dataclass(frozen=True)
class Secrets:
    """The secrets that are generated once per data folder and never printed."""

    secret_key: str
    broker_password: str

    @classmethod
    def fresh(cls) -> "Secrets":
        return cls(secret_key=secrets.token_urlsafe(50), broker_password=secrets.token_hex(32))


@dataclasses.dataclass(frozen=True)
class DataFolder:
    """One folder with all data of an embedded Wardroom. Only its owner can read it."""

    path: Path

    @classmethod
    def here(cls, environ: Mapping[str, str] = os.environ) -> "DataFolder":
        """Return the folder that `WARDROOM_DATA` names, or `var` beside manage.py."""
        named = environ.get("WARDROOM_DATA", "")
        if not named.isprintable():
            raise EmbeddedError("WARDROOM_DATA holds a character that cannot be printed; name another folder")
        return cls(Path(named).expanduser().absolute() if named else BASE_DIR / "var")

    @property
    def database(self) -> Path:
        return self.path / "wardroom.sqlite3"

    @property
    def broker(self) -> Path:
        return self.path / "valkey"

    @property
    def supervisors(self) -> Path:
        return self.path / "supervisors"

    @property
    def work(self) -> Path:
        return self.path / private_files.CHILDREN

    @property
    def static(self) -> Path:
        return self.path / "static"

    @property
    def secrets_file(self) -> Path:
        return self.path / "secrets.json"

    @property
    def start_file(self) -> Path:
        return self.path / "start.json"

    @property
    def socket(self) -> Path:
        return self.runtime() / "v.sock"

    @property
    def broker_url(self) -> str:
        return f"unix://{self.socket}?db=0&password={self.secrets().broker_password}"

    def exists(self) -> bool:
        return self.secrets_file.exists()

    def create(self) -> None:
        """Create the folder and its one-time files. Repeated and concurrent calls are safe.

        Raises EmbeddedError when the folder cannot be created or belongs to another user.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            refuse_foreign(self.path)
            self.path.chmod(0o700)
            for folder in (self.broker, self.supervisors, self.static, self.work):
                folder.mkdir(mode=0o700, exist_ok=True)
            private_files.make_file(self.database)
            private_files.close_to_others(self.path)
            write_once(self.secrets_file, json.dumps(dataclasses.asdict(Secrets.fresh()), indent=1))
        except OSError as trouble:
            raise EmbeddedError(f"the data folder {self.path} cannot be used: {trouble}") from trouble

    def secrets(self) -> Secrets:
        try:
            return Secrets(**json.loads(self.secrets_file.read_text()))
        except (OSError, ValueError, TypeError) as trouble:
            raise EmbeddedError(f"{self.secrets_file} cannot be read: {trouble}") from trouble

    def runtime(self) -> Path:
        """Return the 0700 folder of the broker's socket: in the data folder, or a short one for a long path."""
        inside = self.path / "run"
        if fits_a_socket(inside / "v.sock"):
            inside.mkdir(mode=0o700, exist_ok=True)
            return inside
        note = self.path / "run.path"
        noted = Path(note.read_text()) if note.exists() else None
        if noted is None or not is_private_folder(noted):
            noted = Path(tempfile.mkdtemp(prefix="wardroom-", dir="/tmp"))
            replace(note, str(noted))
        return noted

    def leave_runtime(self) -> None:
        """Remove the short folder, if any. Call it when no process listens there."""
        note = self.path / "run.path"
        if note.exists():
            shutil.rmtree(self.runtime(), ignore_errors=True)
            note.unlink()

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that `given` lacks, with the parts in this folder as values."""
        own = self.secrets()
        ours = {
            "WARDROOM_DATA": str(self.path),
            "WARDROOM_EMBEDDED": "1",
            "WARDROOM_STATIC_ROOT": str(self.static),
            "SECRET_KEY": own.secret_key,
            "WARDROOM_URL": self.url(given),
            "ALLOWED_HOSTS": ",".join(hosts(given)),
            "DATABASE_URL": f"sqlite:///{quote(str(self.database))}",
        }
        if not given.get("REDIS_URL"):
            ours["REDIS_URL"] = self.broker_url
        return {name: value for name, value in ours.items() if not given.get(name)}

    def url(self, given: Mapping[str, str]) -> str:
        """Return the address of this folder's web process: the current one, or that of the last start."""
        if given.get("HOST") or given.get("PORT"):
            return url_of(*address(given))
        return str(self.last_start().get("url") or url_of(*address(given)))

    def remember_start(self, environ: Mapping[str, str]) -> None:
        """Store the facts of this `up` that `load()` needs in a command run by hand."""
        ours = self.environment({})
        given = [name for name in URLS if environ.get(name) and environ[name] != ours.get(name)]
        replace(self.start_file, json.dumps({"url": environ["WARDROOM_URL"], "given": given}))

    def last_start(self) -> dict[str, object]:
        try:
            noted = json.loads(self.start_file.read_text())
        except (OSError, ValueError):
            return {}
        return noted if isinstance(noted, dict) else {}


def named_urls(given: Mapping[str, str]) -> list[str]:
    """Return the parts that the environment names itself."""
    return [name for name in URLS if given.get(name)]


def address(given: Mapping[str, str]) -> tuple[str, int]:
    """Return `HOST` and `PORT`, with their defaults. Raises EmbeddedError for an invalid port."""
    port = given.get("PORT") or "8000"
    if not port.isascii() or not port.isdecimal() or len(port) > 5 or not 0 < int(port) < 65536:
        raise EmbeddedError(f"PORT={port[:60]} is not a port; use one from 1 to 65535")
    return given.get("HOST") or "127.0.0.1", int(port)


def url_of(host: str, port: int) -> str:
    """Return the address for people and children on this machine of a server that listens on `host`."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{name}:{port}"


def hosts(given: Mapping[str, str]) -> list[str]:
    """Return the host names that a browser on this machine may use, in addition to that of `WARDROOM_URL`."""
    try:
        named = urlsplit(given.get("WARDROOM_URL", "")).hostname
    except ValueError:  # The settings refuse it later.
        named = None
    own = socket.gethostname() if given.get("HOST") in {"0.0.0.0", "::"} else given.get("HOST")  # noqa: S104
    return sorted({name for name in (named, own, "localhost", "127.0.0.1", "[::1]") if name})


def load() -> None:
    """Set the URLs of the embedded parts in this process, except those that the environment names.

    `up` also creates the data folder. A command run by hand uses the folder only where an `up` has run, and only with
    the same variables: a deployment that lacks a URL must be refused. Exits 1 with one line when the folder is
    unusable.
    """
    try:
        folder = DataFolder.here()
        if sys.argv[1:2] == ["up"]:
            start(folder)
        elif folder.exists() and folder.last_start().get("given", []) == named_urls(os.environ):
            os.environ.update(folder.environment(os.environ))
    except EmbeddedError as refusal:
        sys.exit(f"wardroom: {refusal}")


def start(folder: DataFolder) -> None:
    """Create the folder, choose the listening address and store it in the environment. Only `up` does this."""
    host, port = address(os.environ)
    folder.create()
    os.environ.update(HOST=host, PORT=str(port))
    os.environ.update(folder.environment(os.environ))


def lock(folder: DataFolder) -> int:
    """Lock the folder until this process ends, however it ends. Return the descriptor that holds the lock.

    Raises EmbeddedError when another `up` holds it.
    """
    held = os.open(folder.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(held, 20).decode(errors="replace").strip() or "unknown"
        os.close(held)
        raise EmbeddedError(
            f"another `up` (process {holder}) already runs on the data folder {folder.path}; "
            "stop it, or set WARDROOM_DATA to another folder"
        ) from None
    os.ftruncate(held, 0)
    os.pwrite(held, f"{os.getpid()}\n".encode(), 0)
    return held


def fits_a_socket(path: Path) -> bool:
    text = str(path)
    return len(os.fsencode(text)) <= LONGEST_SOCKET_PATH and PLAIN_PATH.fullmatch(text) is not None


def is_private_folder(path: Path) -> bool:
    """Return True when `path` is a real folder that only we can enter. Anybody can create files in /tmp."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def refuse_foreign(path: Path) -> None:
    if path.stat().st_uid != os.getuid():
        raise EmbeddedError(f"the data folder {path} belongs to another user; set WARDROOM_DATA to your own")


def write_once(path: Path, text: str) -> None:
    """Write a whole 0600 file, unless it exists. Of two concurrent writers, one wins."""
    draft = write_draft(path, text)
    with contextlib.suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()


def replace(path: Path, text: str) -> None:
    """Write a whole 0600 file in place of the old one."""
    write_draft(path, text).replace(path)


def write_draft(path: Path, text: str) -> Path:
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return Path(draft)
