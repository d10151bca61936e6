"""The SDK alone from pip, and documents with existing commands."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.house.sources import ROOT

COMMAND = re.compile(r"^\s*(?:\$ )?make ([a-z][a-z-]*)|`make ([a-z][a-z-]*)[`= ]", re.MULTILINE)


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_every_make_command_in_a_document_exists(document: str) -> None:
    named = {first or second for first, second in COMMAND.findall((ROOT / document).read_text())}
    assert named
    assert named - targets() == set()


def test_pip_installs_the_sdk_alone(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT / "wardroom", source / "wardroom", ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / file, source / file)
    build = "import setuptools.build_meta as b; print(b.build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(source.glob("*.whl"))) as wheel:
        names = {entry.split("/")[0] for entry in wheel.namelist()}
        assert "wardroom/py.typed" in wheel.namelist()
        metadata = next(entry for entry in wheel.namelist() if entry.endswith("/METADATA"))
        needs = re.findall(r"^Requires-Dist: (\w+)(.*)$", wheel.read(metadata).decode(), re.MULTILINE)
    assert {entry for entry in names if not entry.endswith(".dist-info")} == {"wardroom"}
    assert sorted(name for name, rest in needs if "extra" not in rest) == ["msgspec", "websockets"]


def test_the_version_is_said_in_one_place() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" in settings["project"]["dynamic"]
    assert settings["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "wardroom.__version__"}


def test_the_lock_of_the_adapters_agrees_with_the_others() -> None:
    """It is installed without resolving, so another version in it would replace the one that the server runs on."""
    pins = re.compile(r"^([\w.-]+)(?:\[[\w,-]*\])?==([^ ;\\]+)", re.MULTILINE)
    locks = ("requirements.txt", "requirements-dev.txt", "requirements-adapters.txt")
    server, tests, adapters = (dict(pins.findall((ROOT / name).read_text())) for name in locks)
    both = {**tests, **server}
    assert adapters
    assert {name: version for name, version in adapters.items() if both.get(name, version) != version} == {}
