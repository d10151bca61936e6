import pytest

from accounts.models import Project


@pytest.fixture
def other_project(db: None) -> Project:
    return Project.objects.create(slug="other")
