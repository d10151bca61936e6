"""A receipt: check its signature, and its audit rows in an export of the chain. It needs the extra `verify`."""

import json
from collections.abc import Iterable
from typing import Any

from wardroom import strict
from wardroom.verify.chain import NotVerified

#: The `typ` of a receipt's header. Another statement under the same key is no receipt.
KIND = "wardroom-receipt+jws"
#: The most bytes of a receipt.
LONGEST = 64 * 1024


def check(receipt: str, keys: dict[str, Any], *, digest: str = "", chain: Iterable[bytes] | None = None) -> Any:
    """Return the statement of a receipt that was signed with one of the published keys. Raises NotVerified.

    `keys` is the document `/.well-known/wardroom.json`. With `digest`, the receipt must be about that action. With
    `chain`, the lines of a verified export, every audit row that the receipt names must be in it.
    """
    from jwt import PyJWK, PyJWTError, api_jws

    if len(receipt) > LONGEST:
        raise NotVerified(f"a receipt has at most {LONGEST} bytes")
    try:
        header = api_jws.get_unverified_header(receipt)
        if header.get("typ") != KIND:
            raise NotVerified(f"it is no receipt: its type is {header.get('typ')!r}")
        found = [each for each in keys.get("keys", []) if each.get("kid") == header.get("kid")]
        if not found:
            raise NotVerified(f"no published key has the id {header.get('kid')!r}")
        # Only this algorithm: a header must not choose another one.
        statement = strict.loads(api_jws.decode(receipt, PyJWK(found[0], "EdDSA").key, algorithms=["EdDSA"]))
    except (PyJWTError, strict.StrictJSONError, AttributeError, TypeError) as problem:
        raise NotVerified(f"the signature does not hold: {problem}") from None
    if statement.get("iss") != keys.get("issuer"):
        raise NotVerified(f"it was issued by {statement.get('iss')}, and the keys belong to {keys.get('issuer')}")
    if digest and statement.get("digest") != digest:
        raise NotVerified(f"it is about the digest {statement.get('digest')}")
    if chain is not None:
        named_rows_in(statement, chain)
    return statement


def named_rows_in(statement: dict[str, Any], chain: Iterable[bytes]) -> None:
    """Raise NotVerified unless every audit row that a receipt names is in the export."""
    named = {row["number"]: row["hash"] for row in statement["audit"]}
    project = ""
    for line in chain:
        row = json.loads(line)
        project = row.get("project", project)
        if (number := row.get("number")) in named and named.pop(number) != row["hash"]:
            raise NotVerified(f"audit row {number} differs from the receipt: the chain was written again")
    if project != statement["project"]:
        raise NotVerified("the export is the chain of another project")
    if named:
        raise NotVerified(f"the chain lacks audit row {min(named)} of the receipt")
