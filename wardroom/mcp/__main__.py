"""`python -m wardroom.mcp`: serve approvals as MCP tools over stdio.

    WARDROOM_URL=http://localhost:8000 WARDROOM_KEY=wr_key_... python -m wardroom.mcp
    claude --permission-prompt-tool mcp__wardroom__permission_prompt ...    # with --permission-prompt

Inside a child of Wardroom it asks with the token of the child, and needs no key. With --decide it is a server for a
person: it lists and answers requests, with WARDROOM_DECIDE_KEY, and has no tool to ask.
"""

import argparse
import asyncio
import os
import sys

from wardroom.client import Client, Problem
from wardroom.extras import MissingExtra
from wardroom.gate.action import Policy
from wardroom.identity import Identity, NotAChild

#: What the keys of people and programs begin with. The token of a child does not.
_KEYS = "wr_key_"


class Misconfigured(Exception):
    """A variable of the environment is missing or wrong. The text names it."""


def options() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m wardroom.mcp", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--conversation", default="mcp", help="a name for the conversation, the same after a restart")
    parser.add_argument("--permission", default="tool", help="the permission that permission prompts ask for")
    parser.add_argument("--permission-prompt", action="store_true", help="serve the prompts of Claude Code, too")
    parser.add_argument("--timeout", type=float, help="seconds that a permission prompt waits; without it, for ever")
    parser.add_argument("--decide", action="store_true", help="answer requests instead, with WARDROOM_DECIDE_KEY")
    return parser


def asker() -> tuple[str, str]:
    """Return the address and the key that ask. Raises Misconfigured."""
    key = os.environ.get("WARDROOM_KEY", "")
    if key:
        return _url(), key
    try:
        identity = Identity.from_env()
    except NotAChild as error:
        raise Misconfigured("set WARDROOM_URL and WARDROOM_KEY, a key with the scope approvals:ask") from error
    return identity.url, identity.token


def decider() -> tuple[str, str]:
    """Return the address and the key of the deciding person. Raises Misconfigured."""
    key = os.environ.get("WARDROOM_DECIDE_KEY", "")
    if not key.startswith(_KEYS):
        raise Misconfigured("set WARDROOM_DECIDE_KEY to a person's key with the scope approvals:decide")
    if key == os.environ.get("WARDROOM_KEY"):
        raise Misconfigured("WARDROOM_DECIDE_KEY is also WARDROOM_KEY: who asks must not decide")
    try:
        Client(_url(), key).count_approvals()
    except (Problem, OSError) as error:
        raise Misconfigured(f"WARDROOM_DECIDE_KEY is of no use: {error}") from error
    return _url(), key


def _url() -> str:
    if not (url := os.environ.get("WARDROOM_URL", "")):
        raise Misconfigured("set WARDROOM_URL, the address of Wardroom")
    return url


def main(arguments: list[str] | None = None) -> int:
    """Serve until the client leaves."""
    given = options().parse_args(arguments)
    try:
        from wardroom.mcp import server

        if given.decide:
            serving = server.serve_decider(*decider())
        else:
            prompts = Policy(given.permission) if given.permission_prompt else None
            serving = server.serve_asker(*asker(), given.conversation, prompts=prompts, timeout=given.timeout)
        asyncio.run(serving)
    except (Misconfigured, MissingExtra) as error:
        print(f"python -m wardroom.mcp: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
