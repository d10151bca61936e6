"""Run inside `manage.py shell`: a first admin and an API key with every scope. The token is printed last."""

from accounts import credentials, scopes
from accounts.models import Project, User
from tests.servers.databases import ADMIN

name, password = ADMIN
admin = User.objects.create_superuser(name, "staff@example.test", password)
project, _ = Project.objects.get_or_create(slug="default")
_credential, token = credentials.mint(kind="api", project=project, scopes=scopes.ALL, user=admin, name="tests")
print(token)
