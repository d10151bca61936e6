"""A house of real processes stands on each backend and broker, and leaves nothing behind."""

import os
from collections.abc import Callable

import pytest

from tests.servers.stack import House, processes_naming
from tests.waiting import wait_until

Stack = Callable[..., House]
pytestmark = pytest.mark.stack


def test_two_web_processes_share_one_house(stack: Stack) -> None:
    house = stack(web=2)
    answers = [house.client(web).get("/readyz") for web in (1, 2)]
    assert [answer.status_code for answer in answers] == [200, 200]


def test_a_killed_service_can_be_started_again(stack: Stack) -> None:
    house = stack(worker=False, beat=False)
    house.kill("web1")
    assert not house.services["web1"].running
    house.start("web1")
    assert house.client().get("/readyz").status_code == 200


def test_a_stopped_broker_makes_the_house_unready_until_it_is_back(stack: Stack) -> None:
    house = stack(worker=False, beat=False)
    house.broker.kill()
    wait_until(lambda: house.client().get("/readyz").status_code == 503)
    house.broker.start()
    wait_until(lambda: house.client().get("/readyz").status_code == 200)


def test_a_house_queues_on_rabbitmq(stack: Stack) -> None:
    house = stack(broker="rabbitmq", beat=False)
    assert house.environment["BROKER_URL"].startswith("amqp://")
    assert house.rabbitmq is not None
    queues = house.rabbitmq.control("list_queues", "-p", house.environment["BROKER_URL"].rpartition("/")[2])
    assert "celery" in queues


def test_closing_a_house_ends_everything_that_names_its_folder(stack: Stack) -> None:
    house = stack(worker=False, beat=False)
    folder = str(house.folder)
    assert processes_naming(folder)
    house.close()
    assert processes_naming(folder) == []
    assert not os.path.exists(folder)
