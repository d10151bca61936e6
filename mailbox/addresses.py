"""Addresses: opaque strings of one project. Those of sessions (`session:`) and Wardroom's own are reserved."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from core.display.names import UNSEEN, is_visible
from core.web import faults, paths, problems

LONGEST = 200
SESSION = "session:"
#: What begins so, an id or an address, is given by Wardroom alone.
OWN = "wardroom:"
#: Where answers are kept whose asker reads no mailbox. It takes none but those of `asking.answer`.
ANSWERS = f"{OWN}answers"
#: An address, as JSON Schema writes a pattern.
PATTERN = f"^({SESSION}{paths.PATTERN}|(?!{SESSION}|\\.\\.?$)[^ /{UNSEEN}]+)$"


def session_address(session_id: UUID) -> str:
    """The address that a session's live line reads."""
    return f"{SESSION}{session_id}"


#: Says whether a project has a session; the app that has sessions tells us how, as it starts. Without it all exist.
_has_session: Callable[[UUID, UUID], bool] | None = None


def reserve_for(has_session: Callable[[UUID, UUID], bool]) -> None:
    """From now on a session's address takes messages only when `has_session(project_id, session_id)`."""
    global _has_session
    _has_session = has_session


def must_take(project_id: UUID, address: str) -> None:
    """404 for the address of a session that is not there: nobody would ever read what waits at it. 403 for Wardroom's
    own: what stands there was put there by a verb.
    """
    if address.startswith(OWN):
        raise problems.forbidden(f"Addresses that begin with {OWN} are Wardroom's own.", "reserved-address")
    session_id = session_of(address)
    if session_id and _has_session and not _has_session(project_id, session_id):
        raise problems.not_found("There is no such session.")


def is_session(address: str) -> bool:
    """Whether it is a session's, which only its live line reads."""
    return address.startswith(SESSION)


def is_reserved(address: str) -> bool:
    """Whether nobody can drain it."""
    return address.startswith((SESSION, OWN))


def session_of(address: str) -> UUID | None:
    """The session whose address it is, or None for a plain one."""
    return UUID(address.removeprefix(SESSION)) if is_session(address) else None


def canonical(address: str) -> str:
    """The address as rows have it: the id of a session may be written in upper case, and without its dashes."""
    session_id = paths.uuid_of(address.removeprefix(SESSION)) if is_session(address) else None
    return session_address(session_id) if session_id else address


def check(address: object) -> str:
    """The address as rows have it, or a 422 that says what is wrong with it."""
    wrong = _wrong(address)
    if wrong:
        raise problems.invalid([{"field": "address", "detail": wrong}], "That is not an address.")
    return canonical(str(address))


def _wrong(address: object) -> str | None:
    if not isinstance(address, str) or not 0 < len(address) <= LONGEST:
        return f"must be {faults.string(LONGEST, 1)}, and is {faults.kind(address)}"
    # A slash would end it in a URL; a character that nobody sees would make two addresses look like one.
    if "/" in address or " " in address or not is_visible(address):
        return "must have no slashes, no spaces and no invisible characters"
    if address in (".", ".."):
        # A client takes them out of a URL, and calls another address.
        return "must not be . or .."
    if is_session(address) and not paths.uuid_of(address.removeprefix(SESSION)):
        return f"{SESSION} is reserved: the UUID of a session has to follow"
    return None
