"""Receipts: what was decided about one action, signed, and verified without the server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import call_command
from django.test import Client, override_settings

from accounts.models import Project, User
from approvals.models import Approval
from ledger.audit import export, signing
from ledger.models import AuditEntry, SigningKey
from tests.approvals.conftest import Asked
from tests.approvals.test_rest import Caller
from wardroom.verify import chain, receipts

pytestmark = pytest.mark.django_db


@pytest.fixture
def key(bearer: Callable[..., dict[str, str]], project: Project, alice: User) -> Caller:
    return Caller(bearer(project, alice))


def keys() -> Any:
    answer = Client().get("/.well-known/wardroom.json")
    assert answer.status_code == 200
    return answer.json()


def approved(key: Any, asked: Asked) -> Approval:
    approval = asked()
    said = {"decision": "approve", "digest": approval.digest}
    assert key.post(f"/{approval.id}/decide", said).status_code == 200
    return approval


def receipt(key: Any, approval: Approval) -> str:
    answer = key.get(f"/{approval.id}/receipt")
    assert answer.status_code == 200, answer.content
    return str(answer.json()["receipt"])


def exported(project: Project) -> list[bytes]:
    end = export.head(project.pk)
    rows = [export.as_json(row) for row in export.after(project.pk, 0, 1000)]
    first, last = {"project": str(project.pk)}, {"head": {"number": end.number, "hash": end.hash}}
    return [json.dumps(first).encode(), *rows, json.dumps(last).encode()]


def test_a_receipt_says_what_was_decided_and_then_that_it_ran(key: Any, asked: Asked, project: Project) -> None:
    approval = approved(key, asked)
    first = receipts.check(receipt(key, approval), keys(), digest=approval.digest, chain=exported(project))
    assert (first["approval"], first["status"], first["consumed_at"]) == (str(approval.id), "approved", None)
    assert first["decision"] == {"kind": "approve", "via": "rest"}
    assert [row["action"] for row in first["audit"]] == ["approval.requested", "approval.decided"]
    assert "arguments" not in json.dumps(first)
    approval.refresh_from_db()
    consumed = key.post(f"/{approval.id}/consume", {"digest": approval.digest})
    assert consumed.status_code == 200, consumed.content
    second = receipts.check(receipt(key, approval), keys(), chain=exported(project))
    assert second["consumed_at"] == consumed.json()["consumed_at"]
    assert second["audit"][:2] == first["audit"] and second["audit"][-1]["action"] == "approval.consumed"


def test_the_same_approval_has_the_same_receipt(key: Any, asked: Asked) -> None:
    approval = approved(key, asked)
    assert receipt(key, approval) == receipt(key, approval)


def test_a_pending_approval_has_none_and_an_unknown_one_is_not_found(key: Any, asked: Asked) -> None:
    answer = key.get(f"/{asked().id}/receipt")
    assert (answer.status_code, answer.json()["type"]) == (409, "not-settled")
    assert key.get(f"/{uuid4()}/receipt").status_code == 404


def test_a_foreign_receipt_cannot_be_read(
    key: Any, asked: Asked, bearer: Callable[..., dict[str, str]], elsewhere: Project, alice: User
) -> None:
    approval = approved(key, asked)
    elsewhere.groups.set(alice.groups.all())
    assert Caller(bearer(elsewhere, alice)).get(f"/{approval.id}/receipt").status_code == 404


def altered(text: str, **changes: Any) -> str:
    head, payload, signature = text.split(".")
    said = json.loads(jwt.utils.base64url_decode(payload)) | changes
    return ".".join([head, jwt.utils.base64url_encode(json.dumps(said).encode()).decode(), signature])


def forged(text: str, algorithm: str, secret: Any, **header: Any) -> str:
    head = jwt.get_unverified_header(text) | {"alg": algorithm} | header
    payload = jwt.utils.base64url_decode(text.split(".")[1])
    return jwt.api_jws.encode(payload, secret, algorithm=algorithm, headers=head)


def test_a_false_receipt_is_refused(key: Any, asked: Asked, project: Project) -> None:
    real = receipt(key, approved(key, asked))
    known = keys()
    public = known["keys"][0]["x"].encode()
    for false, why in (
        (altered(real, status="denied"), "signature does not hold"),
        (forged(real, "EdDSA", Ed25519PrivateKey.generate()), "signature does not hold"),
        (forged(real, "HS256", public + b"=" * 32), "signature does not hold"),
        (forged(real, "none", None), "signature does not hold"),
        (forged(real, "EdDSA", Ed25519PrivateKey.generate(), kid="mine"), "no published key"),
        (forged(real, "EdDSA", Ed25519PrivateKey.generate(), typ="JWT"), "it is no receipt"),
        ("no receipt", "signature does not hold"),
        ("a" * 70_000, "at most"),
    ):
        with pytest.raises(chain.NotVerified, match=why):
            receipts.check(false, known)
    with pytest.raises(chain.NotVerified, match="about the digest"):
        receipts.check(real, known, digest="0" * 64)
    with pytest.raises(chain.NotVerified, match="issued by"):
        receipts.check(real, known | {"issuer": "https://other.example"})


@pytest.mark.parametrize(("harm", "why"), [("rewritten", "differs from the receipt"), ("cut", "lacks audit row")])
def test_a_chain_that_lost_the_decision_contradicts_its_receipt(
    key: Any, asked: Asked, project: Project, harm: str, why: str
) -> None:
    """A person with the database can write the whole chain again. The receipt that somebody kept shows it."""
    text = receipt(key, approved(key, asked))
    lines, number = exported(project), AuditEntry.objects.get(action="approval.decided").number
    harmed = json.dumps(json.loads(lines[number]) | {"hash": "0" * 64}).encode()
    lines[number : number + 1] = [harmed] if harm == "rewritten" else []
    with pytest.raises(chain.NotVerified, match=why):
        receipts.check(text, keys(), chain=lines)


def test_after_a_rotation_old_receipts_still_verify(key: Any, asked: Asked) -> None:
    approval = approved(key, asked)
    old = receipt(key, approval)
    call_command("rotate_signing_key")
    new = receipt(key, approval)
    known = keys()
    assert [each["retired_at"] is None for each in known["keys"]] == [True, False]
    assert jwt.get_unverified_header(old)["kid"] != jwt.get_unverified_header(new)["kid"]
    assert receipts.check(old, known) == receipts.check(new, known)


def test_a_copy_of_the_database_signs_nothing(key: Any, asked: Asked) -> None:
    approval = approved(key, asked)
    old = receipt(key, approval)
    stored = SigningKey.objects.get()
    with override_settings(SECRET_KEY="another" * 8):
        signing._open.cache_clear()
        # The sealed key cannot be opened, so a new one is made; the old receipt still verifies.
        assert jwt.get_unverified_header(receipt(key, approval))["kid"] != stored.id
        assert receipts.check(old, keys())["status"] == "approved"
    with override_settings(SECRET_KEY="new" * 20, SECRET_KEY_FALLBACKS=["another" * 8]):
        signing._open.cache_clear()
        assert jwt.get_unverified_header(receipt(key, approval))["kid"] != stored.id
        assert SigningKey.objects.count() == 2
    signing._open.cache_clear()


def test_the_command_checks_a_receipt(key: Any, asked: Asked, project: Project, tmp_path: Path) -> None:
    approval = approved(key, asked)
    files = {
        "receipt": json.dumps(key.get(f"/{approval.id}/receipt").json()).encode(),
        "false": altered(receipt(key, approval), status="denied").encode(),
        "keys": json.dumps(keys()).encode(),
        "chain": b"\n".join(exported(project)) + b"\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)

    def run(name: str, *more: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "wardroom.verify", "receipt", name, "--keys", "keys", *more]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        return done.returncode, done.stdout + done.stderr

    status, text = run("receipt", "--audit", "chain", "--digest", approval.digest)
    assert status == 0, text
    assert text.splitlines()[-1] == f"verified: signed by {keys()['issuer']}, approved"
    assert run("false")[0] == 1
    assert run("none")[0] == 2
    status, text = run("keys")
    assert status == 1 and text.startswith("NOT VERIFIED: a file has another form")
