"""The actor of an operation: one frozen value that operations take, audit rows store and approvals name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from accounts.models import Credential, CredentialKind, User


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """The identity that the transport proved. A body never names one."""

    kind: Literal["user", "key", "child", "system"]
    id: str
    name: str
    user: User | None = None
    credential_id: int | None = None
    session: UUID | None = None
    attempt: int | None = None
    scopes: tuple[str, ...] = ()
    #: For a key: its project, which its owner sees.
    project_id: UUID | None = None
    #: For a key: the members of `scopes.permissions()` that its owner holds, as its check found them.
    owner_holds: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"

    @property
    def user_id(self) -> int | None:
        """The id of the person behind the actor: a staff user, or the owner of an API key."""
        return self.user.pk if self.user else None

    def holds(self, permission: str) -> bool:
        """Return True when the person behind the actor holds one of `scopes.permissions()`.

        Wardroom itself holds all of them, and a child none.
        """
        if self.kind == "system":
            return True
        if self.user is None:
            return False
        if self.kind == "user":
            return self.user.has_perm(permission)
        return self.user.is_superuser or permission in self.owner_holds

    @classmethod
    def of_user(cls, user: User) -> Actor:
        """Return the actor of a signed-in member of the staff."""
        return cls(kind="user", id=str(user.pk), name=user.get_username(), user=user)

    @classmethod
    def of_credential(cls, credential: Credential) -> Actor:
        """Return the actor of an API key, or of a child by its token."""
        if credential.kind == CredentialKind.CHILD:
            return cls(
                kind="child",
                id=f"{credential.subject}/{credential.attempt}",
                name=f"child {credential.subject}",
                credential_id=credential.pk,
                session=UUID(credential.subject),
                attempt=credential.attempt,
            )
        return cls(
            kind="key",
            id=credential.public_id,
            name=credential.name or credential.public_id,
            user=credential.user,
            credential_id=credential.pk,
            scopes=tuple(credential.scopes),
            project_id=credential.project_id,
            owner_holds=frozenset((getattr(credential, "owner_holds", None) or "").split(",")),
        )

    @classmethod
    def system(cls, name: str) -> Actor:
        """Return Wardroom itself as an actor: a sweeper, the watchdog, a command."""
        return cls(kind="system", id=name, name=name)
