"""Opening addresses of the web: http and https alone, and no redirect from one to the other."""

from __future__ import annotations

import http.client
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from napari_salt.terms.errors import InputError
from napari_salt.terms.text import printable, shortened

__all__ = ["SCHEMES", "check_private", "open_url", "send"]

SCHEMES = ("http", "https")
THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


def open_url(url: str, timeout: float, headers: dict[str, str] | None = None) -> Any:
    """Open an address for reading; a context manager, like that of `urllib.request.urlopen`.

    Parameters
    ----------
    url
        Address that begins with ``http://`` or ``https://``.
    timeout
        Seconds without a byte after which the connection is broken off.
    headers
        Further headers of the request.

    Raises
    ------
    InputError
        If the address, or one that it redirects to, has another scheme.
    OSError, http.client.HTTPException
        If the server cannot be reached or answers with an error.
    """
    _check_scheme(url, SCHEMES, "there is an address")
    request = urllib.request.Request(url, headers={"User-Agent": "napari-salt", **(headers or {})})  # noqa: S310
    opener = urllib.request.OpenerDirector()  # no handlers for files, FTP and data, which the usual one has
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _SameScheme(),
    ):
        opener.add_handler(handler)
    return opener.open(request, timeout=timeout)


def send(url: str, method: str, content: bytes, headers: dict[str, str], timeout: float) -> Any:
    """Send content with headers that nobody else may read; a context manager, like that of `open_url`.

    Parameters
    ----------
    url
        Address that begins with ``https://``, or is on this machine. Redirects are errors, as the headers
        would go along.
    method
        "POST" or "PUT".
    content
        Body of the request.
    headers
        Its headers, such as one with a token.
    timeout
        Seconds without a byte after which the connection is broken off.

    Raises
    ------
    InputError
        If the address is another.
    OSError, http.client.HTTPException
        If the server cannot be reached or answers with an error.
    """
    check_private(url)
    headers = {"User-Agent": "napari-salt", **headers}
    request = urllib.request.Request(url, content, headers, method=method)  # noqa: S310
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener.open(request, timeout=timeout)


def check_private(url: str) -> None:
    """Raise InputError for an address to which no token may be sent: not https, and not this machine."""
    if _scheme(url) == "http" and urlsplit(url).hostname in THIS_MACHINE:
        return
    _check_scheme(url, ("https",), "a token is to be sent to")


class _SameScheme(urllib.request.HTTPRedirectHandler):
    """Follows redirects that keep the scheme."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """The request that follows the redirect."""
        _check_scheme(newurl, (_scheme(req.full_url),), f"{_shown(req.full_url)} redirects to an address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: http.client.HTTPMessage
    ) -> Any:
        """Refuse other schemes also where the base class has an error of its own for them."""
        target = headers.get("location") or headers.get("uri") or ""
        if _scheme(target):
            try:
                self.redirect_request(req, fp, code, msg, headers, target)
            except InputError:
                fp.close()
                raise
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _check_scheme(url: str, allowed: tuple[str, ...], what: str) -> None:
    if _scheme(url) not in allowed:
        begins = " or ".join(f"{name}://" for name in allowed)
        raise InputError(f"{what} {_shown(url)}, which does not begin with {begins}; get the file elsewhere")


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme.lower()
    except ValueError:
        return "none"


def _shown(url: str) -> str:
    return shortened(printable(url), 200)
