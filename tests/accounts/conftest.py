"""A person with the rights of a team, which can be taken away."""

import pytest
from django.contrib.auth.models import Group

from accounts import projects
from accounts.models import User


@pytest.fixture
def team() -> Group:
    team = Group.objects.create(name="team")
    projects.default().groups.add(team)
    return team


@pytest.fixture
def ann(team: Group) -> User:
    user = User.objects.create_user("ann", is_staff=True)
    user.groups.add(team)
    return user
