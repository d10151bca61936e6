"""`GET schema` is made once for each process. A caller that has it gets a 304."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from config import schema
from tests.house.sources import ROOT

pytestmark = pytest.mark.surface

SCHEMA = "/api/v1/schema"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Each time that the document is made."""
    times: list[Any] = []
    real = SchemaGenerator.get_schema

    def counted(self: Any, **options: Any) -> Any:
        times.append(options)
        return real(self, **options)

    monkeypatch.setattr(SchemaGenerator, "get_schema", counted)
    for cached in (schema._said, schema._rendered):
        cached.cache_clear()
    return times


def test_many_at_once_make_it_once(made: list[Any]) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: Client().get(SCHEMA), range(16)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len(made) == 1


def test_it_is_the_document_of_the_docs_in_each_format() -> None:
    document = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())
    answer = Client().get(SCHEMA)
    assert yaml.safe_load(answer.content) == document
    as_json = Client().get(SCHEMA, headers={"Accept": "application/json"})
    assert as_json.json() == document
    assert Client().get(f"{SCHEMA}?format=json").json() == document
    assert as_json.headers["ETag"] != answer.headers["ETag"]


def test_who_has_it_gets_a_304() -> None:
    first = Client().get(SCHEMA)
    again = Client().get(SCHEMA, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert Client().get(SCHEMA, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    ("address", "accept", "status"),
    [(f"{SCHEMA}?lang=de", "*/*", 422), (f"{SCHEMA}?format=xml", "*/*", 404), (SCHEMA, "image/png", 406)],
)
def test_what_it_cannot_be_is_a_problem_in_json(address: str, accept: str, status: int) -> None:
    answer = Client().get(address, headers={"Accept": accept})
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert answer.headers["Content-Type"] == "application/problem+json"
