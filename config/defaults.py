"""Every number of the design, each with one name, in seconds, bytes or counts.

`WARDROOM_TIMINGS` (a JSON object) replaces single values. The tests use it to turn minutes into seconds.
"""

from __future__ import annotations

from typing import Any

MIB = 1024 * 1024

WARDROOM: dict[str, Any] = {
    # the tree
    "spawn_depth": 4,
    # Counts only children that have not ended.
    "children_per_parent": 64,
    "sessions_per_tree": 10_000,
    "retries": 0,
    # A larger tree is cancelled in transactions of one session each, so that it blocks no other writer.
    "cancel_at_once_sessions": 32,
    # Roles of sessions without a command of their own: role -> {command, runner?, retries?, env?, scopes?}.
    "roles": {"runbook": {"command": ["python", "-m", "wardroom.children.runbook"]}},
    # launching
    "first_frame_secs": 60,
    "external_first_frame_secs": 24 * 3600,
    "supervisor_alive_secs": 15,
    "supervisor_orphan_secs": 600,
    "kill_grace_secs": 5,
    "stderr_tail_bytes": 8192,
    # Names of further variables that children may see, beside the usual ones (HOME, LANG, TZ, ...).
    "child_environment": [],
    # the connection
    "hello_secs": 10,
    "ping_secs": 20,
    "connection_grace_secs": 60,
    "connection_poll_secs": 5,
    "heartbeat_secs": 5,
    "heartbeat_lease_secs": 20,
    "outage_gap_secs": 30,
    "max_frame_bytes": MIB,
    "max_unacked_events": 256,
    "max_frames_per_10_secs": 2000,
    "send_timeout_secs": 20,
    # the watchdog
    "check_interval_secs": 15,
    "max_total_secs": 3600,
    "max_idle_secs": 900,
    # The largest value that a session's metadata may set in place of the three above.
    "max_watchdog_secs": 30 * 86400,
    "cancel_grace_secs": 20,
    # waits
    "wait_lease_secs": 6 * 3600,
    "held_call_secs": 25,
    # approvals
    "pending_approvals_per_attempt": 64,
    # Counts approvals without a session, requested by REST.
    "pending_approvals_per_key": 256,
    "pending_approvals_per_project": 2048,
    # Questions that wait in one session's mailbox until its child reads them.
    "open_asks_per_session": 256,
    # the mailbox
    "claim_lease_secs": 60,
    "claim_tries": 5,
    # A claim ends at the message that reaches this, so it may exceed it by one body.
    "claim_bytes": 2 * MIB,
    "max_body_bytes": 256 * 1024,
    "max_depth": 64,
    "max_keys": 10_000,
    "max_question_bytes": 64 * 1024,
    # a session's metadata
    "max_metadata_bytes": 64 * 1024,
    "max_metadata_keys": 1000,
    # answers
    "max_result_bytes": 128 * 1024,
    "max_error_bytes": 16 * 1024,
    # Data that the children of one session may store: events, history, requests, messages, spawned sessions.
    "session_kept_rows": 500_000,
    "session_kept_bytes": 256 * MIB,
    "run_history_bytes": 512 * 1024,
    "max_request_bytes": 2 * MIB,
    # A page ends at this many bytes, but holds at least one row.
    "max_page_bytes": MIB,
    # the front gate
    "connections": 10_000,
    # Time and size limits for a request's head.
    "head_secs": 10,
    "max_head_bytes": 64 * 1024,
    # Connections of one address without a whole request and without a known caller. A proxy connects when it has a
    # request.
    "silent_connections_per_address": 64,
    # Handshakes of children during authentication, per web process and per address.
    "unproven_handshakes": 512,
    "unproven_handshakes_per_address": 128,
    # Concurrent Django requests, for reads and writes separately; fewer when the limit of open files is low. Further
    # requests wait in a queue of this size, for this time.
    "requests_at_once": 16,
    "waiting_requests": 1000,
    "turn_secs": 10,
    # A reader of an answer may be slower than this for `send_timeout_secs` in total.
    "send_bytes_per_sec": 32 * 1024,
    # Time limit for a body.
    "body_secs": 25,
    # SQLite: a write waits this long for the write lock, then it is refused with 503.
    "write_lock_secs": 20,
    # A longer body is read only after authentication.
    "unproven_body_bytes": 64 * 1024,
    # Bodies in the memory of one web process: of authenticated callers, and of others.
    "body_bytes_at_once": 64 * MIB,
    "unproven_bytes_at_once": 16 * MIB,
    # retention
    "keep_admitted_secs": 7 * 86400,
    "keep_events_secs": 30 * 86400,
    "keep_idempotency_secs": 86400,
    "keep_dead_messages_secs": 30 * 86400,
    "keep_settled_approvals_secs": 400 * 86400,
    # Requeued or discarded messages. Waiting ones are kept until a person settles them.
    "keep_settled_quarantine_secs": 30 * 86400,
    # The folders of `process` children on this host, after their session has ended.
    "keep_work_folders_secs": 30 * 86400,
    # the beat
    "sweep_secs": 5,
    "slow_sweep_secs": 15,
    "retention_sweep_secs": 60,
    "beat_stale_secs": 60,
    "beat_stuck_secs": 60,
    "worker_deaf_secs": 120,
    # Sessions that may end in one sweep in any case. Beyond this and beyond a tenth, the next sweep must agree.
    "brake_floor": 5,
    # wake-ups
    "wakeup_timeout_secs": 1.0,
    "hub_poll_secs": 5,
    # event streams: the interval of comments; the reader's permission is checked at each
    "stream_beat_secs": 15,
    # Per key, child or signed-in person, at one web process.
    "streams_per_credential": 16,
    # Long polls per key or child, at one web process.
    "held_calls_per_credential": 256,
    "page_recheck_secs": 30,
    # the admin login: without requesting a page, and in total
    "login_idle_secs": 8 * 3600,
    "login_longest_secs": 7 * 86400,
    # wrong passwords for one account from one address, and the seconds of the lockout
    "login_failures": 10,
    "login_lockout_secs": 15 * 60,
}

#: Beat job -> the setting of its interval.
JOBS = {
    "launch_sweep": "sweep_secs",
    "connections_sweep": "sweep_secs",
    "watchdog_sweep": "sweep_secs",
    "approvals_expiry_sweep": "sweep_secs",
    "claims_sweep": "sweep_secs",
    "outbox_sweep": "sweep_secs",
    "waits_sweep": "slow_sweep_secs",
    "cancels_sweep": "sweep_secs",
    "retention_sweep": "retention_sweep_secs",
}


def schedule(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return Celery's static beat schedule. A job that waits for a minute is dropped, so that no backlog builds up.

    The limit is not shorter, because its expiry is the only comparison of beat's clock with a worker's.
    """
    return {
        job: {
            "task": f"orchestration.{job}",
            "schedule": float(values[setting]),
            "options": {"expires": max(60.0, float(values[setting]))},
        }
        for job, setting in JOBS.items()
    }
