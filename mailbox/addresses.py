"""Addresses: opaque strings of one project. Those of sessions (`session:`) and Wardroom's own are reserved."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from core.display.names import UNSEEN, is_visible
from core.web import faults, paths, problems

LONGEST = 200
SESSION = "session:"
#: The prefix of ids and addresses that only Wardroom creates.
OWN = "wardroom:"
#: The address of answers to askers that read no mailbox. Only `questions.answer` delivers to it.
ANSWERS = f"{OWN}answers"
#: An address, as JSON Schema writes a pattern.
PATTERN = f"^({SESSION}{paths.PATTERN}|(?!{SESSION}|\\.\\.?$)[^ /{UNSEEN}]+)$"


def session_address(session_id: UUID) -> str:
    """Return the address that a session's live connection reads."""
    return f"{SESSION}{session_id}"


#: Checks that a project has a session. The app that owns sessions sets it at start. Without it, every session exists.
_has_session: Callable[[UUID, UUID], bool] | None = None


def reserve_for(has_session: Callable[[UUID, UUID], bool]) -> None:
    """From now on, accept messages for a session's address only if `has_session(project_id, session_id)`."""
    global _has_session
    _has_session = has_session


def check_deliverable(project_id: UUID, address: str) -> None:
    """Raise 404 for the address of a session that does not exist: no reader would ever come. Raise 403 for Wardroom's
    own addresses: only its own operations deliver there.
    """
    if address.startswith(OWN):
        raise problems.forbidden(f"Addresses that begin with {OWN} are Wardroom's own.", "reserved-address")
    session_id = session_of(address)
    if session_id and _has_session and not _has_session(project_id, session_id):
        raise problems.not_found("There is no such session.")


def is_session(address: str) -> bool:
    """True for a session's address, which only its live connection reads."""
    return address.startswith(SESSION)


def is_reserved(address: str) -> bool:
    """True for an address that cannot be drained."""
    return address.startswith((SESSION, OWN))


def session_of(address: str) -> UUID | None:
    """Return the session of this address, or None for a plain one."""
    return UUID(address.removeprefix(SESSION)) if is_session(address) else None


def canonical(address: str) -> str:
    """Return the address as rows store it. The id of a session may be written in upper case, and without its dashes."""
    session_id = paths.uuid_of(address.removeprefix(SESSION)) if is_session(address) else None
    return session_address(session_id) if session_id else address


def check(address: object) -> str:
    """Return the address as rows store it, or raise 422 with the fault."""
    wrong = ""
    if not isinstance(address, str) or not 0 < len(address) <= LONGEST:
        wrong = f"must be {faults.string(LONGEST, 1)}, and is {faults.kind(address)}"
    elif "/" in address or " " in address or not is_visible(address):
        # A slash would end it in a URL; an invisible character would make two addresses look like one.
        wrong = "must have no slashes, no spaces and no invisible characters"
    elif address in (".", ".."):
        # A client removes them from a URL, and calls another address.
        wrong = "must not be . or .."
    elif is_session(address) and not paths.uuid_of(address.removeprefix(SESSION)):
        wrong = f"{SESSION} is reserved: the UUID of a session has to follow"
    if wrong:
        raise problems.invalid([{"field": "address", "detail": wrong}], "That is not an address.")
    return canonical(str(address))
