"""Drawings from other hosts: only from those that a setting names, never from a private address.

A host's name is looked up once, and the connection goes to the address that was checked: a name that
changes its mind in between leads nowhere.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property

import httpx

from services.errors import ApiError

_TYPES = frozenset(
    {
        "image/svg+xml",
        "application/xml",
        "text/xml",
        "text/plain",
        "application/octet-stream",
        "application/gzip",
    }
)
_MOVED = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 3
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_PORTS = {"http": 80, "https": 443}

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""A host's name and port to its IP addresses."""


async def resolve(host: str, port: int) -> list[str]:
    """
    Raises:
        OSError: there is no such host.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def is_public(address: str) -> bool:
    """Whether an address belongs to the internet at large, and does not lead back to a private one."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address) and (
        ip.ipv4_mapped or ip.sixtofour or ip.teredo or ip in _NAT64
    ):
        return False
    return ip.is_global and not ip.is_multicast


class SvgUrls:
    """Reads drawings from `hosts`: `example.org`, `example.org:8443`, or `*.example.org` for all below it."""

    def __init__(
        self,
        hosts: Sequence[str],
        *,
        max_bytes: int,
        timeout_s: float,
        resolve: Resolve = resolve,
        is_allowed: Callable[[str], bool] = is_public,
    ) -> None:
        self._hosts = [host.lower() for host in hosts]
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._resolve = resolve
        self._is_allowed = is_allowed

    async def read(self, address: str, param: str) -> bytes:
        """The bytes at an address, whatever they are.

        Raises:
            ApiError: it may not be read, or cannot.
        """
        if not self._hosts:
            raise _refused(param, "Drawings are not fetched from other hosts here: send the SVG itself.")
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._follow(httpx.URL(address), param)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise _refused(param, f"It is not a URL: {error}.") from None
        except (TimeoutError, httpx.HTTPError, OSError) as error:
            reason = str(error) or f"no answer within {self._timeout_s:g} s"
            raise _refused(param, f"It cannot be fetched: {reason}.", "unreachable") from None

    async def _follow(self, url: httpx.URL, param: str) -> bytes:
        async with httpx.AsyncClient(
            trust_env=False, verify=self._certificates, timeout=self._timeout_s
        ) as client:
            for _ in range(_MAX_REDIRECTS + 1):
                address = await self._checked(url, param)
                request = client.build_request(
                    "GET",
                    url.copy_with(host=address),
                    headers={"Host": url.netloc.decode(), "Accept-Encoding": "identity"},
                    extensions={"sni_hostname": url.raw_host.decode()},
                )
                answer = await client.send(request, stream=True)
                try:
                    if answer.status_code not in _MOVED:
                        return await self._content(answer, param)
                    url = url.join(answer.headers.get("location", ""))
                finally:
                    await answer.aclose()
        raise _refused(param, f"It redirects more than {_MAX_REDIRECTS} times.")

    @cached_property
    def _certificates(self) -> ssl.SSLContext:
        return httpx.create_ssl_context(trust_env=False)  # takes longer than a drawing does

    async def _checked(self, url: httpx.URL, param: str) -> str:
        """The address to connect to."""
        if url.scheme not in _PORTS or url.userinfo or not self._listed(url):
            raise _refused(param, f"'{url.copy_with(userinfo=b'')}' is at no host that is allowed here.")
        addresses = await self._resolve(url.raw_host.decode(), url.port or _PORTS[url.scheme])
        if not addresses or not all(map(self._is_allowed, addresses)):
            raise _refused(param, f"'{url.host}' has an address that is not public.")
        return addresses[0]

    def _listed(self, url: httpx.URL) -> bool:
        host = url.netloc.decode().lower()  # without a port that is the scheme's own
        parents = ["*" + host[place:] for place, letter in enumerate(host) if letter == "."]
        return any(name in self._hosts for name in (host, *parents))

    async def _content(self, answer: httpx.Response, param: str) -> bytes:
        if answer.status_code != httpx.codes.OK:
            raise _refused(param, f"Its host answered with status {answer.status_code}.", "unreachable")
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in _TYPES:
            raise _refused(param, f"It is of type '{kind}', not image/svg+xml.")
        content = bytearray()
        async for chunk in answer.aiter_raw():
            content += chunk
            if len(content) > self._max_bytes:
                raise ApiError(
                    413, "too_large", f"The drawing has more than {self._max_bytes:,} bytes.", param=param
                )
        return bytes(content)


def _refused(param: str, message: str, kind: str = "refused") -> ApiError:
    return ApiError(422, f"svg_url_{kind}", message, param=param)
