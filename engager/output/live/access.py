"""Who may look and who may act: a key that is good once, a cookie in its place, and this origin only."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from hmac import compare_digest

from aiohttp import web

#: The beginning of the cookie's name; each page has one of its own, as cookies know no ports.
COOKIE = "engager_page"

#: What a script of another origin cannot send along without asking first.
HEADER = "X-Engager"

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Guard:
    """The key of a page, and those who have used it."""

    def __init__(self, host: str) -> None:
        self.admit: Callable[[web.Request], None] = lambda request: (
            None
        )  #: called for every request that may stay
        self.key = secrets.token_urlsafe(24)
        self._key_is_good = True
        self._cookie = secrets.token_urlsafe(32)
        self._name = f"{COOKIE}_{secrets.token_hex(4)}"
        self._loopback = is_loopback(host)

    def enter(self, request: web.Request) -> web.StreamResponse:
        """Exchange the key for a cookie: from then on the key opens nothing."""
        given = request.query.get("key", "")
        if not self._key_is_good or not compare_digest(given.encode("utf-8", "replace"), self.key.encode()):
            raise web.HTTPForbidden(text="This key is not good, or was used before. Start the run again.\n")
        self._key_is_good = False
        response = web.Response(status=303, headers={"Location": "/", **_HEADERS})
        response.set_cookie(self._name, self._cookie, httponly=True, samesite="Strict", path="/")
        return response

    def is_authenticated(self, request: web.Request) -> bool:
        """Whether the request comes from a browser that has used the key."""
        return compare_digest(
            request.cookies.get(self._name, "").encode("utf-8", "replace"), self._cookie.encode()
        )

    def refuse_foreign_host(self, request: web.Request) -> None:
        """Raises HTTPForbidden for a name that somebody else made point here."""
        try:
            host = request.url.host or ""
        except ValueError:
            host = "nowhere"
        if self._loopback and not is_loopback(host):
            raise web.HTTPForbidden(text="This page is only for the machine that it runs on.\n")

    def refuse_foreign_script(self, request: web.Request) -> None:
        """Raises HTTPForbidden for what a page of another origin sends."""
        origin = request.headers.get("Origin")
        ours = origin is None or origin == f"{request.scheme}://{request.host}"
        if HEADER not in request.headers or not ours:
            raise web.HTTPForbidden(text="Only the page itself may ask for this.\n")

    @web.middleware
    async def middleware(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Ask for the cookie, but for what is open to all; and tell the browser to be strict."""
        self.refuse_foreign_host(request)
        if request.method == "GET" and request.path == "/" and "key" in request.query:
            return self.enter(request)
        if request.path not in OPEN and not self.is_authenticated(request):
            raise web.HTTPForbidden(text="Open the address that the run has printed, with its key.\n")
        self.admit(request)
        if request.method != "GET":
            self.refuse_foreign_script(request)
        response = await handler(request)
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response


#: What holds no person's data: figures for a machine that watches.
OPEN = frozenset({"/metrics", "/health"})
