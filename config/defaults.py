"""Every number that design decides, under one name each, in seconds, bytes or counts.

`WARDROOM_TIMINGS` (a JSON object) replaces single ones, which is how the tests make minutes into seconds.
"""

from __future__ import annotations

from typing import Any

MIB = 1024 * 1024

WARDROOM: dict[str, Any] = {
    # the tree
    "spawn_depth": 4,
    # Of those that are not over.
    "children_per_parent": 64,
    "sessions_per_tree": 10_000,
    "retries": 0,
    # A tree of more sessions is cancelled in transactions of one session each, so that nobody else waits for it.
    "cancel_at_once_sessions": 32,
    # What a session can be without a command of its own: role -> {command, runner?, retries?, env?, scopes?}.
    "roles": {"runbook": {"command": ["python", "-m", "wardroom.children.runbook"]}},
    # launching
    "first_frame_secs": 60,
    "external_first_frame_secs": 24 * 3600,
    "keeper_alive_secs": 15,
    "keeper_orphan_secs": 600,
    "kill_grace_secs": 5,
    "stderr_tail_bytes": 8192,
    # Names of variables that children may see beside the usual ones (HOME, LANG, TZ, ...).
    "child_environment": [],
    # the line
    "hello_secs": 10,
    "ping_secs": 20,
    "line_grace_secs": 60,
    "line_poll_secs": 5,
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
    # What a session's metadata may say instead of the three above.
    "max_watchdog_secs": 30 * 86400,
    "cancel_grace_secs": 20,
    # waits
    "wait_lease_secs": 6 * 3600,
    "held_call_secs": 25,
    # approvals
    "pending_approvals_per_attempt": 64,
    # Of those without a session, asked by REST.
    "pending_approvals_per_key": 256,
    "pending_approvals_per_project": 2048,
    # Questions that wait in one session's mailbox until its child takes them in.
    "open_asks_per_session": 256,
    # the mailbox
    "claim_lease_secs": 60,
    "claim_tries": 5,
    # A claim ends at the message that reaches it, so it may have one body more.
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
    # What the children of one session can make us keep: events, history, requests, messages, spawned sessions.
    "session_kept_rows": 500_000,
    "session_kept_bytes": 256 * MIB,
    "run_history_bytes": 512 * 1024,
    "max_request_bytes": 2 * MIB,
    # A page of an answer ends at so many bytes, but holds at least one row.
    "max_page_bytes": MIB,
    # the front door
    # Sockets of one web process, WebSockets too; fewer where its limit of open files is lower.
    "connections": 10_000,
    # A request's head has to arrive in this time, and may be so long.
    "head_secs": 10,
    "max_head_bytes": 64 * 1024,
    # Connections of one address on which no whole request has come yet, nor a caller that is known. A proxy connects
    # when it has one.
    "silent_connections_per_address": 64,
    # Children's handshakes whose token is being judged, of one web process and of one address.
    "unproven_handshakes": 512,
    "unproven_handshakes_per_address": 128,
    # Requests that Django answers at once, of those that read and of those that write; fewer where the limit of open
    # files is low. The others wait for their turn: so many, and so long.
    "requests_at_once": 16,
    "waiting_requests": 1000,
    "turn_secs": 10,
    # A reader of an answer may be slower than this for `send_timeout_secs` in all.
    "send_bytes_per_sec": 32 * 1024,
    # A body has to arrive in this time.
    "body_secs": 25,
    # SQLite: a write waits so long for the one write lock, then it is refused with 503.
    "write_lock_secs": 20,
    # A longer body is read only after its caller has been judged.
    "unproven_body_bytes": 64 * 1024,
    # All bodies that a web process holds in memory at once: those of callers that were judged, and the others.
    "body_bytes_at_once": 64 * MIB,
    "unproven_bytes_at_once": 16 * MIB,
    # what is kept
    "keep_admitted_secs": 7 * 86400,
    "keep_events_secs": 30 * 86400,
    "keep_idempotency_secs": 86400,
    "keep_dead_messages_secs": 30 * 86400,
    "keep_settled_approvals_secs": 400 * 86400,
    # What was requeued or discarded; what waits in quarantine is kept until somebody settles it.
    "keep_settled_quarantine_secs": 30 * 86400,
    # The folders of `process` children on this host, after their session has ended.
    "keep_work_folders_secs": 30 * 86400,
    # the beat
    "sweep_secs": 5,
    "slow_sweep_secs": 15,
    "housekeeping_secs": 60,
    "beat_stale_secs": 60,
    "beat_stuck_secs": 60,
    "worker_deaf_secs": 120,
    # So many sessions may end in one sweep, however few run; beyond it and beyond a tenth, the next sweep has to agree.
    "brake_floor": 5,
    # nudges
    "nudge_timeout_secs": 1.0,
    "hub_poll_secs": 5,
    # event streams: a comment so often, and the reader's right to read is asked again with it
    "stream_beat_secs": 15,
    # Of one key, child or signed-in person, at one web process.
    "streams_per_credential": 16,
    # Calls that wait, of one key or child, at one web process.
    "held_calls_per_credential": 256,
    "page_recheck_secs": 30,
    # signed in to the admin: without asking for a page, and in all
    "login_idle_secs": 8 * 3600,
    "login_longest_secs": 7 * 86400,
    # wrong passwords for one account from one address, and for how long it is refused then
    "login_failures": 10,
    "login_lockout_secs": 15 * 60,
}

#: Beat job -> the setting that says how often it runs.
JOBS = {
    "launch_sweep": "sweep_secs",
    "lines_sweep": "sweep_secs",
    "watchdog_sweep": "sweep_secs",
    "approvals_expiry_sweep": "sweep_secs",
    "claims_sweep": "sweep_secs",
    "outbox_sweep": "sweep_secs",
    "waits_sweep": "slow_sweep_secs",
    "cancels_sweep": "sweep_secs",
    "housekeeping": "housekeeping_secs",
}


def schedule(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Celery's static beat schedule: a job that nobody took in a minute is dropped, so that no backlog builds up.

    Not sooner, because its expiry is the one moment that beat's clock and a worker's are compared.
    """
    return {
        job: {
            "task": f"orchestration.{job}",
            "schedule": float(values[setting]),
            "options": {"expires": max(60.0, float(values[setting]))},
        }
        for job, setting in JOBS.items()
    }
