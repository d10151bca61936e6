"""Reading event streams as a browser does: frames of `id`, `event` and `data`, comments and all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass
class Frame:
    """One frame of a stream. A comment has nothing but `comment`."""

    id: str = ""
    event: str = ""
    data: str = ""
    comment: str = ""
    other: dict[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return json.loads(self.data)


def frames(answer: httpx.Response) -> Iterator[Frame]:
    """Every frame, comments too, until the stream ends."""
    frame, empty = Frame(), True
    for line in answer.iter_lines():
        if not line:
            if not empty:
                yield frame
            frame, empty = Frame(), True
            continue
        empty = False
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name in ("id", "event", "data"):
            setattr(frame, name, value)
        elif name == "":
            frame.comment = value
        else:
            frame.other[name] = value


def events(answer: httpx.Response) -> Iterator[Frame]:
    """Only the frames that carry data."""
    return (frame for frame in frames(answer) if frame.data)


@contextmanager
def stream(client: httpx.Client, path: str, **headers: str) -> Iterator[httpx.Response]:
    """An open event stream."""
    asked = {"Accept": "text/event-stream", **{name.replace("_", "-"): value for name, value in headers.items()}}
    with client.stream("GET", path, headers=asked) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield answer
