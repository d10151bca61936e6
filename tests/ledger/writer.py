"""A process that fills a project's feed: `python -m tests.ledger.writer THREADS EACH`.

Every transaction appends a random few events, and now and then one rolls back after it had noted some.
"""

import os
import random
import sys
import threading

import django


def main(threads: int, each: int) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from accounts import projects

    project = projects.default()
    writers = [threading.Thread(target=write, args=(project.pk, each, seed)) for seed in range(threads)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()


class TakenBack(Exception):
    """The transaction's own end."""


def write(project_id: object, each: int, seed: int) -> None:
    from django.db import connection

    from ledger import unit_of_work

    dice = random.Random(seed)
    for _ in range(each):
        try:
            with unit_of_work.transaction():
                for _ in range(dice.randint(1, 3)):
                    unit_of_work.event(project_id, "written", {"by": seed})
                if dice.random() < 0.1:
                    raise TakenBack
        except TakenBack:
            continue
    connection.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
