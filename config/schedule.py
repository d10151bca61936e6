"""The jobs of beat, and their intervals."""

from __future__ import annotations

from typing import Any

from core.limits import Limits

#: Beat job -> the setting of its interval.
JOBS = {
    "launch_sweep": "sweep_secs",
    "connections_sweep": "sweep_secs",
    "watchdog_sweep": "sweep_secs",
    "approvals_expiry_sweep": "sweep_secs",
    "claims_sweep": "sweep_secs",
    "outbox_sweep": "sweep_secs",
    "deliveries_sweep": "sweep_secs",
    "reviews_sweep": "sweep_secs",
    "waits_sweep": "slow_sweep_secs",
    "cancels_sweep": "sweep_secs",
    "retention_sweep": "retention_sweep_secs",
}


def schedule(limits: Limits) -> dict[str, dict[str, Any]]:
    """Return Celery's static beat schedule. A job that waits for a minute is dropped, so that no backlog builds up.

    The limit is not shorter, because its expiry is the only comparison of beat's clock with a worker's.
    """
    return {
        job: {
            "task": f"orchestration.{job}",
            "schedule": float(getattr(limits, setting)),
            "options": {"expires": max(60.0, float(getattr(limits, setting)))},
        }
        for job, setting in JOBS.items()
    }
