"""DBOS (https://docs.dbos.dev) as a peer: a workflow that waits in `recv`, and a client that calls `send`.

`python -m benchmarks.peers.durable URL NUMBER` prints, as JSON, the milliseconds from each call of `send` to the return
of `recv`. The sender is a process of its own. Both read the monotonic clock, which is one on a machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid

from dbos import DBOS, DBOSClient

#: Between two messages, so that each finds an idle waiter, as the answer of a person does.
PAUSE_SECS = 0.05


@DBOS.workflow()
def receive(number: int) -> list[float]:
    """Return the time of each arrival."""
    arrived = []
    for _ in range(number):
        DBOS.recv("answers", timeout_seconds=60)
        arrived.append(time.monotonic())
    return arrived


def send(url: str, workflow: str, number: int) -> list[float]:
    """Return the time of each call."""
    client, sent = DBOSClient(system_database_url=url), []
    for _ in range(number):
        time.sleep(PAUSE_SECS)
        sent.append(time.monotonic())
        client.send(workflow, {"decision": "approve"}, "answers", idempotency_key=str(uuid.uuid4()))
    return sent


def main(url: str, number: int) -> None:
    """Print the milliseconds of each message."""
    DBOS(config={"name": "bench", "system_database_url": url, "log_level": "ERROR", "run_admin_server": False})
    DBOS.launch()
    handle = DBOS.start_workflow(receive, number)
    order = [sys.executable, "-m", __spec__.name, url, str(number), handle.workflow_id]
    sent = json.loads(subprocess.run(order, check=True, capture_output=True, text=True, timeout=120).stdout)
    arrived = handle.get_result()
    DBOS.destroy()
    print(json.dumps([(there - here) * 1000 for here, there in zip(sent, arrived, strict=True)]))


if __name__ == "__main__":
    address, many, *workflow = sys.argv[1:]
    if workflow:
        print(json.dumps(send(address, workflow[0], int(many))))
    else:
        main(address, int(many))
