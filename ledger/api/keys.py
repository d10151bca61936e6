"""`GET /.well-known/wardroom.json`: the public keys of receipts. It needs no token."""

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from ledger.audit import signing


@require_safe
def well_known(request: HttpRequest) -> JsonResponse:
    """Return the issuer and a JWK Set (RFC 7517)."""
    answer = JsonResponse({"issuer": settings.WARDROOM_URL, "keys": signing.published()})
    answer["Cache-Control"] = "public, max-age=300"
    return answer
