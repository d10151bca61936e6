"""The base of every REST view: the caller's project, credential and actor."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, cast

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import idempotency
from accounts.actors import Actor
from accounts.models import Credential, Project
from accounts.permissions import Methods, ScopeMap
from core.db import sql
from core.web import queries
from core.web.openapi.refusals import Types
from core.web.openapi.values import Schema


class ProjectView(APIView):
    """Declares `scopes` per method, and `child_may` for the methods that a child's token may call.

    `owner_needs` names, per method, a permission that the owner of a key must hold in addition to the scope. For the
    OpenAPI document a view declares: its own problem types (`refuses`), the fields of a valid body that the current
    state may refuse (`depends`), the methods that also answer an event stream (`streams`), the media types of files
    that a method also answers (`exports`), and the schemas of its path parameters (`in_path`). `query` holds the query
    parameters of each method; a call with any other is refused. `secret` names the methods whose answer may show a
    token, so that no cache stores it. `before_django` names the methods of the same address that a route before Django
    answers.
    """

    scopes: ClassVar[ScopeMap] = {}
    child_may: ClassVar[Methods] = ()
    refuses: ClassVar[Mapping[str, Types]] = {}
    depends: ClassVar[Mapping[str, Sequence[str]]] = {}
    streams: ClassVar[Methods] = ()
    exports: ClassVar[Mapping[str, Sequence[str]]] = {}
    owner_needs: ClassVar[ScopeMap] = {}
    in_path: ClassVar[Mapping[str, Schema]] = {}
    query: ClassVar[Mapping[str, Collection[str]]] = {}
    secret: ClassVar[Methods] = ()
    before_django: ClassVar[Methods] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Run a call that writes once more after a lost race, with its idempotency key and all."""
        super().__init_subclass__(**kwargs)
        for method in ("post", "put", "patch", "delete"):
            if method in cls.__dict__:
                setattr(cls, method, sql.once_more(cls.__dict__[method]))

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Authenticate the caller, then check the query: an unknown caller learns nothing about the parameters."""
        super().initial(request, *args, **kwargs)
        name = str(request.method).lower()
        if name not in self.http_method_names or not hasattr(self, name):
            self.http_method_not_allowed(request)
        method = "GET" if request.method == "HEAD" else str(request.method)
        given = [(name, value) for name, values in request.query_params.lists() for value in values]
        queries.check(given, self.query.get(method, ()))
        if request.method == "POST":
            takes_key = getattr(self.post, "honours_key", False)  # type: ignore[attr-defined]
            idempotency.check_key(idempotency.sent_with(request), takes_key=takes_key)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the answer, marked `no-store` when it may show a token."""
        answer = super().finalize_response(request, response, *args, **kwargs)
        if request.method in self.secret:
            answer["Cache-Control"] = "no-store"
        if isinstance(answer, Response):
            answer.add_post_render_callback(self._release)
        return answer

    def _release(self, answer: Response) -> None:
        """Break the cycles that Django and DRF make of view, request and response.

        The garbage collector runs seldom in a large process. Until then, every body and answer of some MiB would stay.
        """
        self.request.parser_context.clear()
        answer.renderer_context = {}  # type: ignore[attr-defined]
        self.__dict__.clear()

    @property
    def default_response_headers(self) -> dict[str, str]:
        """The headers of each answer. `Allow` names every method that works at this address."""
        headers: dict[str, str] = super().default_response_headers
        if self.before_django:
            allowed = {*self.allowed_methods, *self.before_django}
            headers["Allow"] = ", ".join(name for name in map(str.upper, self.http_method_names) if name in allowed)
        return headers

    @property
    def credential(self) -> Credential:
        """The live credential of this call."""
        return cast(Credential, self.request.auth)

    @property
    def project(self) -> Project:
        """The project that the credential belongs to; a call never names another."""
        return self.credential.project

    @property
    def actor(self) -> Actor:
        """The caller as an actor."""
        return Actor.of_credential(self.credential)

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        """Answer 204. `Allow` names the methods that work."""
        return Response(status=204)
