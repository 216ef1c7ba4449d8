"""Who may ask the viewer's server, and what every answer says to the browser.

A request is answered only if

- its path starts with the token of this start, which nobody but the user knows;
- its Host is the address that the server was started at: a name of someone else that leads here (DNS rebinding) is not;
- its Origin, if it has one, is this server: pages of other origins are not answered, whatever they know;
- its body, if it has one, is small JSON.

Every answer forbids the page to load, embed or send anything elsewhere, and the browser to keep it.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Final

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY_BYTES: Final = 256 * 1024
_STYLE_OF_OPENSEADRAGON: Final = "'sha256-9xTiqzfwFaL2SGb1rmr8gysEwVVjIvqWAgmZgqFqpEE='"
"""The one style sheet that OpenSeadragon 6.1.1 inserts; any other inline style is refused."""
_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src 'self'; style-src 'self' {_STYLE_OF_OPENSEADRAGON}; "
        "img-src 'self' data: blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """Refuses what must not be answered, and removes the token from the path of what may.

    Parameters
    ----------
    app
        The application; it sees paths without the token.
    token
        First part of the path of every request.
    origins
        Scheme, host and port of the server, such as ``http://127.0.0.1:8080``, in lower case.
    """

    def __init__(self, app: ASGIApp, *, token: str, origins: frozenset[str]) -> None:
        self._app, self._token, self._origins = app, token.encode(), origins
        self._hosts = frozenset(origin.split("://", 1)[1] for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # there are no web sockets
        with_headers = _adding_headers(send)
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, with_headers)
            return
        inner = dict(scope)
        inner["path"] = "/" + scope["path"].lstrip("/").partition("/")[2]
        inner["raw_path"] = inner["path"].encode()
        body = _SmallBody(receive)
        await self._app(inner, body, with_headers)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = _single(scope)
        if headers is None or headers.get("host", "").lower() not in self._hosts:
            return PlainTextResponse("the address is not that of this server\n", 403)
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in self._origins:
            return PlainTextResponse("a page of another origin\n", 403)
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not _follows_link(scope, headers):
            return PlainTextResponse("a page of another origin\n", 403)
        first = scope["path"].lstrip("/").partition("/")[0].encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(first, self._token):
            return PlainTextResponse("open the address that microcalc view printed\n", 403)
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("not allowed\n", 405)
        return _body_refusal(headers) if scope["method"] == "POST" else None


def _follows_link(scope: Scope, headers: Mapping[str, str]) -> bool:
    """Return whether the user followed a link to the page, such as in a notebook; its origin sees nothing of it."""
    return (
        scope["method"] == "GET"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def _body_refusal(headers: Mapping[str, str]) -> PlainTextResponse | None:
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return PlainTextResponse("expected JSON\n", 415)
    length = headers.get("content-length", "")
    if not length.isascii() or not length.isdigit() or int(length[:12]) > MOST_BODY_BYTES:
        return PlainTextResponse("too large\n", 413)
    return None


def _single(scope: Scope) -> Mapping[str, str] | None:
    """Return the headers by name in lower case; None where one that is decided by is there twice."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        if key in headers and key in (
            "host",
            "origin",
            "content-type",
            "content-length",
            "sec-fetch-site",
            "sec-fetch-mode",
            "sec-fetch-dest",
        ):
            return None
        headers[key] = value.decode("latin-1")
    return headers


def _adding_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            added = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await send(message)

    return sending


class _SmallBody:
    """Receives a body, and ends the request when it is longer than it may be, whatever its header says."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._seen = receive, 0

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._seen += len(message.get("body", b""))
            if self._seen > MOST_BODY_BYTES:
                return {"type": "http.disconnect"}
        return message
