"""Rules beyond the import contracts: nouns import no operations, and operations import no edges."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.sources import APPS, ROOT, app_files, imported, name, python_files

BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "services", "service", "signals", "misc", "base"}
EDGE = re.compile(r"api|admin|adminsite|connections|tasks|asgi_routes|urls|routing|management|views|live|templatetags")
DJANGO_SIGNALS = {"django.dispatch", "django.db.models.signals", "django.core.signals", "django.contrib.auth.signals"}
# These are on the ground floor for every edge, and named for what they serve.
NOT_EDGES = {"accounts.views"}


def module(path: Path) -> str:
    return name(path).removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def is_edge(dotted: str) -> bool:
    app, first, *_ = [*dotted.split("."), ""]
    return app in APPS and f"{app}.{first}" not in NOT_EDGES and EDGE.fullmatch(first) is not None


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [
        name(path) for path in python_files() if path.stem in BANNED_NAMES or path.parent.name in BANNED_NAMES
    ] == []


def test_verbs_and_nouns_never_import_an_edge() -> None:
    below = [path for path in app_files() if not name(path).startswith(("config/", "server/"))]
    insiders = [path for path in below if not is_edge(module(path))]
    broken = {f"{module(path)} imports {target}" for path in insiders for target in imported(path) if is_edge(target)}
    assert broken == set()


def test_states_import_nothing_of_ours() -> None:
    tables = [path for path in app_files() if path.name == "states.py"]
    ours = {f"{module(path)} imports {t}" for path in tables for t in imported(path) if t.split(".")[0] in APPS}
    assert tables
    assert ours == set()


def test_nobody_hooks_up_django_signals() -> None:
    hooked = {name(path) for path in app_files() if imported(path) & DJANGO_SIGNALS}
    # It sends the signals of a request, as every handler of Django does.
    assert hooked == {"server/front/django.py"}


@pytest.mark.parametrize("wanted", ["wardroom", "wardroom.supervisor"])
def test_the_supervisor_runs_on_the_standard_library_alone(wanted: str) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {wanted}; "
        "print({m.partition('.')[0] for m in sys.modules} - set(sys.stdlib_module_names) - {'wardroom', '__main__'})"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "set()"), done.stderr
