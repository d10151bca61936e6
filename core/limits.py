"""Every number of the design, each with one name, in seconds, bytes or counts: one frozen object, `LIMITS`.

`config.settings` sets it once in each process: `WARDROOM_TIMINGS` (a JSON object) replaces single values. The tests use
that to turn minutes into seconds. It is no entry of Django's settings, because their attributes cost ten times as much
to read.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured

NAME = "WARDROOM_TIMINGS"
MIB = 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The defaults of the design."""

    # the tree
    spawn_depth: int = 4
    # Counts only children that have not ended.
    children_per_parent: int = 64
    sessions_per_tree: int = 10_000
    retries: int = 0
    # A larger tree is cancelled in transactions of one session each, so that it blocks no other writer.
    cancel_at_once_sessions: int = 32
    # Roles of sessions without a command of their own: role -> {command, runner?, retries?, env?, scopes?}.
    roles: Mapping[str, Any] = dataclasses.field(
        default_factory=lambda: {"runbook": {"command": ["python", "-m", "wardroom.children.runbook"]}}
    )
    # launching
    # `process` children that run at once on one host: the smaller of the two.
    processes_per_core: int = 8
    processes_per_host: int = 200
    # Of one project on all hosts. A project may have its own number.
    processes_per_project: int = 200
    # Children that may start above these bounds, one at a time, while parents hold every place and wait for them.
    places_above_bound: int = 4
    # Beyond it, callers are refused. Resumes and retries by policy are not.
    queued_per_project: int = 2000
    first_frame_secs: float = 60
    external_first_frame_secs: float = 24 * 3600
    supervisor_alive_secs: float = 15
    supervisor_orphan_secs: float = 600
    kill_grace_secs: float = 5
    stderr_tail_bytes: int = 8192
    # Jobs of runner plug-ins at once in one host process. Further ones stay queued.
    jobs_per_runner_host: int = 200
    # Names of further variables that children may see, beside the usual ones (HOME, LANG, TZ, ...).
    child_environment: Sequence[str] = ()
    # the connection
    hello_secs: float = 10
    ping_secs: float = 20
    connection_grace_secs: float = 60
    connection_poll_secs: float = 5
    heartbeat_secs: float = 5
    heartbeat_lease_secs: float = 20
    outage_gap_secs: float = 30
    max_frame_bytes: int = MIB
    max_unacked_events: int = 256
    max_frames_per_10_secs: int = 2000
    send_timeout_secs: float = 20
    # the watchdog
    check_interval_secs: float = 15
    max_total_secs: float = 3600
    max_idle_secs: float = 900
    # The largest value that a session's metadata may set in place of the three above.
    max_watchdog_secs: int = 30 * 86400
    cancel_grace_secs: float = 20
    # waits
    wait_lease_secs: float = 6 * 3600
    held_call_secs: float = 25
    # approvals
    pending_approvals_per_attempt: int = 64
    # Counts approvals without a session, requested by REST.
    pending_approvals_per_key: int = 256
    pending_approvals_per_project: int = 2048
    # A consumed action without a report of its outcome is an unknown outcome after this.
    outcome_report_secs: float = 3600
    # Questions that wait in one session's mailbox until its child reads them.
    open_asks_per_session: int = 256
    # the mailbox
    claim_lease_secs: float = 60
    claim_tries: int = 5
    # A claim ends at the message that reaches this, so it may exceed it by one body.
    claim_bytes: int = 2 * MIB
    max_body_bytes: int = 256 * 1024
    max_depth: int = 64
    max_keys: int = 10_000
    max_question_bytes: int = 64 * 1024
    # a session's metadata
    max_metadata_bytes: int = 64 * 1024
    max_metadata_keys: int = 1000
    # answers
    max_result_bytes: int = 128 * 1024
    max_error_bytes: int = 16 * 1024
    # Data that the children of one session may store: events, history, requests, messages, spawned sessions.
    session_kept_rows: int = 500_000
    session_kept_bytes: int = 256 * MIB
    run_history_bytes: int = 512 * 1024
    max_request_bytes: int = 2 * MIB
    # A page ends at this many bytes, but holds at least one row.
    max_page_bytes: int = MIB
    # the front gate
    connections: int = 10_000
    # Time and size limits for a request's head.
    head_secs: float = 10
    max_head_bytes: int = 64 * 1024
    # Connections of one address without a whole request and without a known caller. A proxy connects when it has a
    # request.
    silent_connections_per_address: int = 64
    # Handshakes of children during authentication, per web process and per address.
    unproven_handshakes: int = 512
    unproven_handshakes_per_address: int = 128
    # Concurrent Django requests, for reads and writes separately; fewer when the limit of open files is low. Further
    # requests wait in a queue of this size, for this time.
    requests_at_once: int = 16
    waiting_requests: int = 1000
    turn_secs: float = 10
    # A reader of an answer may be slower than this for `send_timeout_secs` in total.
    send_bytes_per_sec: int = 32 * 1024
    # Time limit for a body.
    body_secs: float = 25
    # SQLite: a write waits this long for the write lock, then it is refused with 503.
    write_lock_secs: float = 20
    # A longer body is read only after authentication.
    unproven_body_bytes: int = 64 * 1024
    # Bodies in the memory of one web process: of authenticated callers, and of others.
    body_bytes_at_once: int = 64 * MIB
    unproven_bytes_at_once: int = 16 * MIB
    # deliveries: webhooks, mail, chat
    webhooks_per_project: int = 16
    # Deliveries of one webhook that wait. Beyond it, the webhook reads on in the feed when some were sent.
    deliveries_waiting: int = 1000
    delivery_timeout_secs: float = 10
    delivery_give_up_secs: float = 3 * 86400
    webhook_disable_secs: float = 5 * 86400
    # A round of sending begins nothing slow after this.
    delivery_round_secs: float = 10
    # retention
    keep_admitted_secs: float = 7 * 86400
    keep_events_secs: float = 30 * 86400
    keep_idempotency_secs: float = 86400
    keep_dead_messages_secs: float = 30 * 86400
    keep_settled_approvals_secs: float = 400 * 86400
    # Requeued or discarded messages. Waiting ones are kept until a person settles them.
    keep_settled_quarantine_secs: float = 30 * 86400
    # Webhooks, mails and chat messages that were sent or given up.
    keep_deliveries_secs: float = 30 * 86400
    # The folders of `process` children on this host, after their session has ended.
    keep_work_folders_secs: float = 30 * 86400
    # the beat
    sweep_secs: float = 5
    slow_sweep_secs: float = 15
    retention_sweep_secs: float = 60
    beat_stale_secs: float = 60
    beat_stuck_secs: float = 60
    worker_deaf_secs: float = 120
    # Sessions that may end in one sweep in any case. Beyond this and beyond a tenth, the next sweep must agree.
    brake_floor: int = 5
    # wake-ups
    wakeup_timeout_secs: float = 1.0
    hub_poll_secs: float = 5
    # event streams: the interval of comments; the reader's permission is checked at each
    stream_beat_secs: float = 15
    # Per key, child or signed-in person, at one web process.
    streams_per_credential: int = 16
    # Long polls per key or child, at one web process.
    held_calls_per_credential: int = 256
    page_recheck_secs: float = 30
    # the admin login: without requesting a page, and in total
    login_idle_secs: float = 8 * 3600
    login_longest_secs: float = 7 * 86400
    # wrong passwords for one account from one address, and the seconds of the lockout
    login_failures: int = 10
    login_lockout_secs: float = 15 * 60


DEFAULTS: Mapping[str, Any] = {field.name: getattr(Limits(), field.name) for field in dataclasses.fields(Limits)}
DAY = 86400.0

#: Lowest and highest values that the suffix of a name does not decide.
BOUNDS: dict[str, tuple[float, float]] = {
    "retries": (0, 100),
    "spawn_depth": (0, 64),
    "places_above_bound": (0, 64),
    "max_depth": (2, 512),
    # The web process starts with a limit of 2 MiB for a frame.
    "max_frame_bytes": (4096, 2 * MIB),
    "kill_grace_secs": (0, 300),
    "cancel_grace_secs": (0, 3600),
    "connection_grace_secs": (0, 30 * DAY),
    "held_call_secs": (0.05, 300),
    "hello_secs": (0.05, 300),
    "send_timeout_secs": (0.05, 300),
    "wakeup_timeout_secs": (0.01, 60),
    "heartbeat_secs": (0.05, 300),
    "sweep_secs": (0.05, 600),
    "slow_sweep_secs": (0.05, 600),
    "retention_sweep_secs": (0.05, 3600),
}
#: Pairs of entries: the first must be less than the second.
ORDER = (("heartbeat_secs", "heartbeat_lease_secs"), ("supervisor_alive_secs", "supervisor_orphan_secs"))
ROLE: dict[str, type] = {
    "command": list,
    "runner": str,
    "retries": int,
    "env": dict,
    "scopes": list,
    "cwd": str,
    "addresses": list,
}


def checked(given: Mapping[str, Any]) -> Limits:
    """Return the limits with these entries replaced. Raises ImproperlyConfigured that names the entry."""
    for name, value in given.items():
        if why := next(_faults(name, value), None):
            raise ImproperlyConfigured(f"{NAME}: {why}")
    values = {**DEFAULTS, **given}
    for less, more in ORDER:
        if not values[less] < values[more]:
            raise ImproperlyConfigured(
                f"{NAME}: {less} is {values[less]!r}, but must be less than {more}, which is {values[more]!r}"
            )
    return Limits(**values)


def bounds(name: str) -> tuple[float, float]:
    """Return the lowest and the highest value of a numeric setting."""
    if name in BOUNDS:
        return BOUNDS[name]
    if name.startswith("keep_") and name.endswith("_secs"):
        return 0, 3650 * DAY
    if name.endswith("_secs"):
        return 0.05, 400 * DAY
    if "_bytes" in name:
        return 1, 1024 * MIB
    return (1 if isinstance(DEFAULTS[name], int) and DEFAULTS[name] else 0), 10_000_000


def _faults(name: str, value: Any) -> Iterator[str]:
    if name not in DEFAULTS:
        near = difflib.get_close_matches(name, DEFAULTS, 1)
        yield f"there is no setting {_shown(name)}" + (f"; did you mean {near[0]!r}?" if near else "")
    elif name == "roles":
        yield from _role_faults(value)
    elif isinstance(DEFAULTS[name], tuple):
        if not _texts(value):
            yield f"{name} is {_shown(value)}; use a list of texts"
    elif isinstance(DEFAULTS[name], int | float) and not isinstance(DEFAULTS[name], bool):
        low, high = bounds(name)
        whole = not name.endswith("_secs") and isinstance(DEFAULTS[name], int)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or (isinstance(value, float) and (whole or not math.isfinite(value))):
            yield f"{name} is {_shown(value)}; use a {'whole ' if whole else ''}number"
        elif not low <= value <= high:
            yield f"{name} is {_shown(value)}; use a number from {low:g} to {high:.0f}"
    elif type(value) is not type(DEFAULTS[name]):
        yield f"{name} is {_shown(value)}; use a value like {_shown(DEFAULTS[name])}"


def _role_faults(roles: Any) -> Iterator[str]:
    if not isinstance(roles, dict):
        yield f"roles is {_shown(roles)}; use an object of roles by name"
        return
    for name, role in roles.items():
        if not isinstance(role, dict):
            yield f"the role {name!r} is {_shown(role)}; use an object with its command"
            return
        for key, value in role.items():
            if key not in ROLE:
                yield f"the role {name!r} has an unknown entry {_shown(key)}; known are {', '.join(ROLE)}"
            elif not isinstance(value, ROLE[key]) or isinstance(value, bool):
                yield f"{key} of the role {name!r} is {_shown(value)}; use a {_KINDS[ROLE[key]]}"
            elif isinstance(value, list) and not (_texts(value) and (value or key != "command")):
                yield f"{key} of the role {name!r} is {_shown(value)}; use a list of texts"
            elif isinstance(value, dict) and not _texts([*value.values()]):
                yield f"{key} of the role {name!r} is {_shown(value)}; use an object of texts"
            elif key == "retries" and isinstance(value, int) and not 0 <= value <= BOUNDS["retries"][1]:
                yield f"retries of the role {name!r} is {_shown(value)}; use a number from 0 to 100"


_KINDS: dict[type, str] = {list: "list of texts", str: "text", int: "whole number", dict: "object of texts"}


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) and "\0" not in each for each in value)


def _shown(value: Any) -> str:
    """Return a value for an error line: short, also for thousands of digits."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**20:
        return "a number of more than 20 digits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


#: The numbers of this process.
LIMITS = Limits()


def load(given: Mapping[str, Any]) -> None:
    """Set the numbers of this process, before anything reads them. Only `config.settings` calls it.

    Raises ImproperlyConfigured that names the entry. The object stays the same: modules have imported it already.
    """
    values = checked(given)
    for field in dataclasses.fields(Limits):
        object.__setattr__(LIMITS, field.name, getattr(values, field.name))
