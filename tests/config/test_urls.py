"""Addresses that are not there, and methods that a view does not know, are told as problems too."""

from __future__ import annotations

import pytest
from rest_framework.test import APIClient

from accounts import credentials, projects
from tests.people import owner

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> APIClient:
    """As picky about forms as a real one."""
    _, token = credentials.mint(kind="api", user=owner(), project=projects.default(), scopes=["sessions:read"])
    client = APIClient(enforce_csrf_checks=True)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


@pytest.mark.parametrize("path", ["", "nothing", "sessions/abc", "sessions/"])
def test_an_unknown_address_of_the_api_is_a_problem_document(client: APIClient, path: str) -> None:
    answer = client.get(f"/api/v1/{path}")
    assert (answer.status_code, answer.json()["type"]) == (404, "not-found")
    assert answer["Content-Type"] == "application/problem+json"
    assert client.post(f"/api/v1/{path}/x", {}).status_code == 404


def test_a_method_that_a_view_does_not_know_is_405_and_names_those_that_it_does(client: APIClient) -> None:
    answer = client.delete("/api/v1/sessions")
    assert answer.status_code == 405
    assert "POST" in answer["Allow"]


def test_the_root_leads_to_the_admin(client: APIClient) -> None:
    answer = client.get("/")
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
