"""Run one shell command in its own process group: its output in pieces, and a certain end."""

import asyncio
import codecs
import contextlib
import io
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from wardroom import processes

PIECE_BYTES = 16 * 1024
PIECE_SECS = 0.25
OUTPUT_BYTES = 64 * 1024
AFTER_EXIT_SECS = 1.0
TERM_SECS = 2.0
CANNOT_START = 126


@dataclass(frozen=True, slots=True)
class Ran:
    """The end of a command. `exit_code` is the exit status, or minus the signal that killed it."""

    exit_code: int
    seconds: float
    pgid: int
    left_out: int = 0


def names() -> list[str]:
    """Return the environment names that a command gets: all of ours except those of Wardroom."""
    return sorted(name for name in os.environ if not name.startswith("WARDROOM_"))


async def run(
    command: str,
    cwd: str,
    env: Sequence[str],
    output: Callable[[str], Awaitable[None]],
    started: Callable[[int], None],
) -> Ran:
    """Run `/bin/sh -c command` to its end. Pass its output to `output` piece by piece, at most 64 KiB.

    `started` receives the process group. Raises OSError when it cannot start. On cancellation the whole group is ended
    before this returns.
    """
    begun = time.monotonic()
    process, pipe = _start(command, cwd, env)
    started(process.pid)
    exited = asyncio.ensure_future(asyncio.to_thread(process.wait))
    loop, stream = asyncio.get_running_loop(), asyncio.StreamReader()
    reader: asyncio.Future[int] = asyncio.ensure_future(_hand_on(stream, output))
    transport: asyncio.BaseTransport | None = None
    try:
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), pipe)
        code = await asyncio.shield(exited)
        # A process that it left behind may hold the pipe open for ever. Output already read is still passed on, though
        # that may take as long as Wardroom is away.
        loop.call_later(AFTER_EXIT_SECS, transport.close)
        return Ran(code, round(time.monotonic() - begun, 3), process.pid, await reader)
    finally:
        if not exited.done():
            processes.kill_group(process.pid, signal.SIGTERM)
            try:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(exited), TERM_SECS)
            finally:
                processes.kill_group(process.pid, signal.SIGKILL)
        (transport or pipe).close()
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


def _start(command: str, cwd: str, env: Sequence[str]) -> "tuple[subprocess.Popen[bytes], io.FileIO]":
    """Return the process, and the pipe with its output. It does not await, so a cancel cannot interrupt it."""
    me = os.getpid()
    ours, theirs = os.pipe()
    pipe = open(ours, "rb", buffering=0)  # noqa: SIM115 - the reader closes it.
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            cwd=cwd,
            env={name: os.environ[name] for name in env if name in os.environ},
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            process_group=0,
            preexec_fn=lambda: processes.begin(me),
        )
    except BaseException:
        pipe.close()
        raise
    finally:
        os.close(theirs)
    return process, pipe


async def _hand_on(stream: asyncio.StreamReader, output: Callable[[str], Awaitable[None]]) -> int:
    """Pass on the output until it ends, and return the number of bytes left out.

    Output is collected briefly, so that many small writes become one piece.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    room, left_out = OUTPUT_BYTES, 0
    while piece := bytearray(await stream.read(PIECE_BYTES)):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PIECE_SECS):
                while len(piece) < PIECE_BYTES and (more := await stream.read(PIECE_BYTES - len(piece))):
                    piece += more
        kept = piece[:room]
        room -= len(kept)
        left_out += len(piece) - len(kept)
        # Wardroom refuses NUL in text.
        if text := decoder.decode(kept).replace("\0", "\ufffd"):
            await output(text)
    if rest := decoder.decode(b"", final=True):
        await output(rest)
    return left_out
