"""How a remote sender reaches the endpoint: it finds token, certificates and proxy on its own machine."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from engager.altcraft.request_bodies import text_in_body
from engager.config.job_sections import SANDBOX_TOKEN, proxy_address
from engager.config.secret import Secret, read_secret
from engager.errors import JobError
from engager.sending.remote.messages import Settings
from engager.sending.transport.base import Destination, Proxy, load_client_cert

#: References are absolute: a sender has no folder of its own.
_ROOT = Path("/")


class Access:
    """The destination, and the token, which bodies name by its place only."""

    def __init__(self, settings: Settings) -> None:
        """Raises JobError where the token, a certificate or the proxy is not found on this machine."""
        if settings.token is None:
            self._token = Secret(SANDBOX_TOKEN)
        else:
            self._token = read_secret(settings.token, _ROOT, least=settings.least_token)
        value = self._token.reveal()
        self._place = settings.token_place.encode()
        self._in_body = None if settings.bearer else text_in_body(settings.wire, value)
        headers = dict(settings.headers)
        if settings.bearer:
            headers["Authorization"] = f"Bearer {value}"
        self._proxy = _proxy_of(settings)
        self.destination = Destination(
            settings.url, headers, settings.timeout, _tls_of(settings), self._proxy, settings.longest_answer
        )

    def with_token(self, body: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """A body with the token in its place, which is in the first part."""
        if self._in_body is None:
            return body
        return body[0].replace(self._place, self._in_body), *body[1:]

    def token_mark(self, key: str) -> str:
        """A keyed mark by which the run recognizes the same token."""
        return self._token.mark(key)

    def redact(self, text: str) -> str:
        """Mask the token, and the password of the proxy, in a text."""
        return self._token.redact(self._proxy.redact(text) if self._proxy else text)

    def redact_bytes(self, data: bytes) -> bytes:
        """Mask the token in a response."""
        return self._token.redact_bytes(data)

    async def unreachable(self) -> str:
        """Why the endpoint, or the proxy before it, cannot be reached from here; empty where it can."""
        url = urlsplit(self._proxy.url if self._proxy else self.destination.url)
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            async with asyncio.timeout(self.destination.timeout):
                tls = self.destination.ssl if url.scheme == "https" else None
                _, writer = await asyncio.open_connection(url.hostname, port, ssl=tls)
        except TimeoutError:
            return f"no connection to {url.hostname} within {self.destination.timeout:g} s"
        except (OSError, ValueError) as fault:
            return f"{url.hostname} cannot be reached: {self.redact(str(fault))}"
        writer.transport.abort()
        return ""


def _tls_of(settings: Settings) -> ssl.SSLContext | None:
    """The TLS context, which always verifies."""
    if not settings.tls:
        return None
    try:
        context = ssl.create_default_context(cadata=settings.authorities)
        if settings.client_cert is not None:
            load_client_cert(context, settings.client_cert, settings.client_key)
    except OSError as fault:
        where = settings.client_cert or "endpoint.ca_file"
        raise JobError(f"{where} cannot be used here: {fault}") from fault
    return context


def _proxy_of(settings: Settings) -> Proxy | None:
    given = settings.proxy
    if given is None:
        return None
    if "://" not in given:
        given = read_secret(given, _ROOT, "endpoint.proxy", "address of a proxy").reveal()
    try:
        return Proxy.at(proxy_address(given))
    except ValueError as fault:
        raise JobError(f"endpoint.proxy: {fault}") from None
