"""The current names of people and keys. Rows store `user:7`, which survives a rename but tells a reader little."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from accounts.models import Credential, FormerName, User

#: No id of ours, and no integer of a database, has more digits.
MOST_DIGITS = 9


def names(words: Iterable[str]) -> dict[str, str]:
    """Return the names of those words that denote a known person or key.

    It takes three queries for any number of words.
    """
    split = {word: word.partition(":")[::2] for word in words}
    numbers = (id for kind, id in split.values() if kind == "user" and id.isascii() and id.isdecimal())
    users = {int(id) for id in numbers if len(id) <= MOST_DIGITS}
    keys = {id for kind, id in split.values() if kind == "key"}
    found = {f"user:{user}": name for user, name in User.objects.filter(pk__in=users).values_list("pk", "username")}
    former = FormerName.objects.filter(word__in=[f"user:{user}" for user in users])
    found |= {word: f"{name}, deleted" for word, name in former.values_list("word", "name")}
    named_keys = Credential.objects.filter(public_id__in=keys).values_list("public_id", "name", "user__username")
    return found | {f"key:{id}": f"{owner}'s key {name}" if owner else name for id, name, owner in named_keys}


def named(word: str, known: Mapping[str, str] | None = None) -> str:
    """Return the name with its word, as `root (user:1)`, or the word alone when it has no name."""
    name = (names([word]) if known is None else known).get(word)
    return f"{name} ({word})" if name else word


def words(name: str) -> list[str]:
    """Return the words that rows use for the person with this name, and for their keys."""
    people = User.objects.filter(username__iexact=name).values_list("pk", flat=True)
    keys = Credential.objects.filter(user__username__iexact=name).values_list("public_id", flat=True)
    former = FormerName.objects.filter(name__iexact=name).values_list("word", flat=True)
    return [*(f"user:{pk}" for pk in people), *(f"key:{public_id}" for public_id in keys), *former]
