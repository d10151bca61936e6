"""Texts that deceive people or programs, and requests that have them in every field of an agent."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from accounts.actors import Actor
from approvals import consumption, decisions, requests
from approvals.canonical_action import Ask
from approvals.life import ask_back
from approvals.models import Approval, Review
from approvals.outcomes import reports
from approvals.review import ending, replies, reviewers
from approvals.review.bodies import ReviewerBody
from approvals.rules import editing
from approvals.rules.bodies import RuleBody
from core.web import request_body
from tests.adminsite.planting import Planted
from tests.people import owner

RUN = "window.planted=1"
#: Each sort of deception once. No two sorts need one another.
CORPUS = {
    "right to left": "\u202ecod.exe\u202c \u2066x\u2069 \u061c",
    "zero width": "pay\u200bpal\u200d\u2060\ufeff\u00ad",
    "tag characters": "".join(chr(0xE0000 + ord(letter)) for letter in "evil"),
    "other blanks": "a\u00a0b\u2003c\u3000d\u2028e\u3164f",
    "look-alike": "p\u0430ypal",
    "ansi": "\x1b[2J\x1b[31mred\x1b]8;;http://evil.example\x07go\x1b]8;;\x07\x9b1m",
    "carriage return": "safe\rrm -rf /",
    "markup": f'<planted onclick="{RUN}"><img src=x onerror="{RUN}"><svg onload="{RUN}"></svg></planted>',
    "script": f"</textarea></script></title><script>{RUN}</script>",
    "attribute": f'" onmouseover="{RUN}" autofocus onfocus="{RUN}" x="',
    "link": f'javascript:{RUN} <a href="javascript:{RUN}">go</a> [go](javascript:{RUN})',
    "template": "{{ 7|add:7 }}{% debug %}${7*7}",
    "formula": '=HYPERLINK("http://evil.example")\t+1+1 @SUM(1) -1',
    "stack of marks": "Z" + "\u0301\u0300\u0302\u0303" * 8 + "n\u0336o\u0336",
    "nothing assigned": "\ue000\U0010ffff\ufff9",
}
WHOLE = " ".join(CORPUS.values())
#: No page has one of these as it is: it shows an escape. A line break is one only where a line is shown.
RAW = (
    "[\\u202a-\\u202e\\u2066-\\u2069\\u061c\\u200b-\\u200f\\u2060-\\u2064\\ufeff\\u00ad\\u3164\\u2028\\u2003\\u3000"
    "\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f\\ue000\\ufff9\\u{e0000}-\\u{e007f}\\u{10ffff}]"
)
LINE = 300_000


def plant_requests(planted: Planted) -> dict[str, Approval]:
    """Ask, in the session of a planted project, for all that an agent can ask; let some of it happen."""
    session = planted.rows[Approval].session
    child = Actor(kind="child", id=f"{session}/1", name=planted.text("asker"), session=session, attempt=1)
    person, where = Actor.of_user(owner("decider")), planted.project.pk
    text = planted.text

    def ask(name: str, **said: Any) -> Approval:
        words = {"tool_name": text("tool", 200), "permission": text("permission", 200), "resource": text("resource")}
        return requests.ask(
            where, Ask(session=session, attempt=1, request_id=name, **words | said), actor=child, via="connection"
        )[0]

    def decide(approval: Approval, **said: Any) -> Approval:
        answer = decisions.Answer(**{"decision": "approve", "digest": approval.digest} | said)
        return decisions.decide(where, approval.pk, answer, person, "admin")

    found = {}
    schema = {
        "title": text("title"),
        "description": text("description"),
        "properties": {text("member"): {"title": "x"}},
    }
    facts = [{"name": text("fact", 200), "value_hash": "1", "shown": text("shown")}]
    found["asked back"] = ask("1", question=text("question"), tool_schema=schema, preconditions=facts)
    ask_back.ask(where, found["asked back"].pk, person, text("back"))
    question = found["asked back"].questions.get()
    ask_back.answer(where, question.pk, text("answer"), child)
    form = {
        "properties": {text("member"): {"enum": [text("choice")], "title": text("label"), "description": text("why")}}
    }
    found["form"] = ask("2", question=text("question"), allowed_decisions=["respond"], response_schema=form)
    step = {"tool_name": text("step", 200), "permission": text("may", 200), "resource": text("target")}
    found["plan"] = ask("3", plan={"steps": [{**step, "arguments": {text("name"): text("value")}}]})
    found["in doubt"] = decide(ask("4", arguments={"command": text("command")}))
    consumption.consume(where, found["in doubt"].pk, digest=found["in doubt"].digest, claim="mine", actor=child)
    reports.report(
        where, found["in doubt"].pk, child, outcome="unknown", claim="mine", detail=text("detail"),
        probe={text("probe"): text("read")},
    )  # fmt: skip
    found["withdrawn"] = decisions.withdraw(where, ask("5").pk, child, text("reason"))
    edited = ask("6", arguments={"command": text("before"), text("key"): [text("deep")]})
    found["edited"] = decide(edited, decision="edit", arguments={"command": text("after")}, note=text("note"))
    found["denied"] = decide(ask("7"), decision="deny", message=text("message"))
    found["long"] = ask("8", arguments={"command": "x" * LINE, text("deep"): {"y" * 2_000: ["z" * 50_000]}})
    # From here on a reviewer looks at each request.
    reviewers.create(
        where, request_body.convert({"name": "careful", "url": "https://review.example/"}, ReviewerBody), person
    )
    looked_at = {"name": "looked at", "outcome": "review", "review": {"reviewer": "careful"}}
    editing.create(where, request_body.convert(looked_at, RuleBody), person)
    for number, word in ((9, "ASK"), (10, "DENY")):
        found[f"reviewed: {word}"] = approval = ask(str(number))
        claim = uuid4()
        assert Review.objects.filter(approval=approval).update(claim=claim)
        assert ending.end(Review.objects.get(approval=approval).pk, claim, replies.read(f"{word}\n{text('verdict')}"))
    return found
