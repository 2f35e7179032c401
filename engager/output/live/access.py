"""Access to the live page: keys that are valid once, then a cookie, for this origin only.

The run prints the first key. A browser that has been let in can ask for one more at a time, for another
device.
"""

from __future__ import annotations

import ipaddress
import secrets
import time
from collections.abc import Awaitable, Callable
from hmac import compare_digest
from math import inf

from aiohttp import web

#: Prefix of the name of the cookie; each page has its own name, because cookies ignore ports.
COOKIE = "engager_page"

#: A header that a script of another origin cannot send without a preflight request.
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

#: Seconds for which a further key is valid.
INVITATION = 600.0

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def is_loopback(host: str) -> bool:
    """Whether an address is reachable from this machine only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Guard:
    """The keys of a page and the cookie of the browser that has used it."""

    def __init__(self, host: str) -> None:
        self.admit: Callable[[web.Request], None] = lambda request: (
            None
        )  #: called for every request that may stay
        self.key = secrets.token_urlsafe(24)
        self._keys = {self.key: inf}  #: those that are valid, and until when on the monotonic clock
        self._cookie = secrets.token_urlsafe(32)
        self._name = f"{COOKIE}_{secrets.token_hex(4)}"
        self._loopback = is_loopback(host)

    def invite(self) -> str:
        """A key for one more device; one that was made before and not used is invalid from now on."""
        made = secrets.token_urlsafe(24)
        self._keys = {key: until for key, until in self._keys.items() if until == inf}
        self._keys[made] = time.monotonic() + INVITATION
        return made

    def enter(self, request: web.Request) -> web.StreamResponse:
        """Exchange a key for a cookie; after that the key is invalid."""
        given = request.query.get("key", "").encode("utf-8", "replace")
        key = next((key for key in self._keys if compare_digest(given, key.encode())), "")
        if time.monotonic() >= self._keys.pop(key, 0.0):
            raise web.HTTPForbidden(
                text="This key is wrong, too old, or was used before. A browser that has the page open can "
                "add a device; or start the run again for a new key.\n"
            )
        response = web.Response(status=303, headers={"Location": "/", **_HEADERS})
        response.set_cookie(self._name, self._cookie, httponly=True, samesite="Strict", path="/")
        return response

    def is_authenticated(self, request: web.Request) -> bool:
        """Whether the request comes from a browser that has used a key."""
        return compare_digest(
            request.cookies.get(self._name, "").encode("utf-8", "replace"), self._cookie.encode()
        )

    def refuse_foreign_host(self, request: web.Request) -> None:
        """Refuse a host name that is not of this machine (DNS rebinding). Raises HTTPForbidden."""
        try:
            host = request.url.host or ""
        except ValueError:
            host = "nowhere"
        if self._loopback and not is_loopback(host):
            raise web.HTTPForbidden(text="This page is served to this machine only.\n")

    def refuse_foreign_script(self, request: web.Request) -> None:
        """Refuse requests of pages of another origin. Raises HTTPForbidden."""
        origin = request.headers.get("Origin")
        ours = origin is None or origin == f"{request.scheme}://{request.host}"
        if HEADER not in request.headers or not ours:
            raise web.HTTPForbidden(text="Only the live page may send this request.\n")

    @web.middleware
    async def middleware(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Require the cookie except for open paths, and set security headers."""
        self.refuse_foreign_host(request)
        if request.method == "GET" and request.path == "/" and "key" in request.query:
            return self.enter(request)
        if request.path not in OPEN and not self.is_authenticated(request):
            raise web.HTTPForbidden(text="Open the address that the run printed; it contains the key.\n")
        self.admit(request)
        if request.method != "GET":
            self.refuse_foreign_script(request)
        response = await handler(request)
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response


#: Paths without personal data, for monitoring.
OPEN = frozenset({"/metrics", "/health"})
