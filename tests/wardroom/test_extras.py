"""A library that is not installed is named together with the extra that installs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.house.sources import ROOT

SCRIPT = """
import sys
for name in {missing!r}:
    sys.modules[name] = None
import {module}
{use}
"""


@pytest.mark.parametrize(
    ("module", "use", "missing", "extra"),
    [
        ("wardroom", "wardroom.AsyncClient", ["httpx"], "async"),
        (
            "wardroom.adapters.langgraph",
            "wardroom.adapters.langgraph.approved_arguments('t', {})",
            ["langgraph"],
            "langgraph",
        ),
        ("wardroom.mcp.server", "", ["mcp"], "mcp"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(module: str, use: str, missing: list[str], extra: str) -> None:
    script = SCRIPT.format(module=module, use=use, missing=missing)
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert f"MissingExtra: {missing[0]} is not installed: pip install 'wardroom[{extra}]'" in done.stderr


@pytest.mark.parametrize("name", ["pydantic_ai", "openai_agents", "langgraph", "claude", "agui"])
def test_an_adapter_is_imported_without_its_framework(name: str) -> None:
    script = SCRIPT.format(
        module=f"wardroom.adapters.{name}",
        use="",
        missing=["agents", "ag_ui", "claude_agent_sdk", "httpx", "langgraph", "pydantic_ai"],
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
