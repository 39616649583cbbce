"""Header blocks of SPDY/3.1 (draft 3.1, section 2.6.10): name/value lists, compressed over the whole connection."""

from __future__ import annotations

import zlib

from provider.kubelet.streams.spdy.errors import LocalProtocolError, RemoteProtocolError

# The compression dictionary of the draft: words with a four-byte length before each, then plain text.
_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie "
    "keep-alive origin"
)
_TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 "
    "Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 "
    "Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept "
    "Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
    "application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdch"
    "charset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _with_length(text: bytes) -> bytes:
    return len(text).to_bytes(4, "big") + text


DICTIONARY = b"".join(_with_length(w.replace("_", " ").encode()) for w in _WORDS.split()) + _TEXT.encode()

HeaderList = tuple[tuple[str, str], ...]
"""Names in lower case, each once; several values of one name stand in one string with NUL between."""


def check_headers(headers: HeaderList) -> str:
    """Return what is wrong with the names, or the empty string."""
    seen = set()
    for name, _ in headers:
        if not name or name != name.lower():
            return f"header name {name!r} is empty or not in lower case"
        if name in seen:
            return f"header {name!r} stands twice"
        seen.add(name)
    return ""


class HeaderCompressor:
    """The sending half: its zlib stream lives as long as the connection, so blocks must be sent in order."""

    def __init__(self, max_size: int) -> None:
        self._zlib = zlib.compressobj(zdict=DICTIONARY)
        self._max_size = max_size

    def compress(self, headers: HeaderList) -> bytes:
        """Return the block; LocalProtocolError for bad names or a block above the bound (uncompressed bytes)."""
        if wrong := check_headers(headers):
            raise LocalProtocolError(wrong)
        if any(ord(letter) > 0xFF for pair in headers for text in pair for letter in text):  # noqa: PLR2004 - a byte
            raise LocalProtocolError("header text holds a character beyond latin-1")
        block = len(headers).to_bytes(4, "big") + b"".join(
            _with_length(text.encode("latin-1")) for pair in headers for text in pair
        )
        if len(block) > self._max_size:
            raise LocalProtocolError(f"header block of {len(block)} bytes, {self._max_size} are allowed")
        return self._zlib.compress(block) + self._zlib.flush(zlib.Z_SYNC_FLUSH)


class HeaderDecompressor:
    """The receiving half. Every block must go through it, also that of a stream nobody wants."""

    def __init__(self, max_size: int) -> None:
        self._zlib = zlib.decompressobj(zdict=DICTIONARY)
        self._max_size = max_size

    def decompress(self, block: bytes) -> HeaderList:
        """Return the headers; RemoteProtocolError for anything malformed or above the bound (uncompressed bytes)."""
        try:
            # One byte above the bound is asked for: a bomb shows itself without being blown up.
            plain = self._zlib.decompress(block, self._max_size + 1)
        except zlib.error as error:
            raise RemoteProtocolError(f"header block does not decompress: {error}") from error
        if len(plain) > self._max_size:
            raise RemoteProtocolError(f"header block above {self._max_size} bytes")
        if self._zlib.eof:
            raise RemoteProtocolError("compressed header stream has ended")
        headers = _parse(plain)
        if wrong := check_headers(headers):
            raise RemoteProtocolError(wrong)
        return headers


def _parse(plain: bytes) -> HeaderList:
    position = 0

    def number() -> int:
        nonlocal position
        if position + 4 > len(plain):
            raise RemoteProtocolError("header block is cut short")
        position += 4
        return int.from_bytes(plain[position - 4 : position], "big")

    def text() -> str:
        nonlocal position
        length = number()
        if position + length > len(plain):
            raise RemoteProtocolError("header block is cut short")
        position += length
        return plain[position - length : position].decode("latin-1")

    count = number()
    if count * 8 > len(plain):
        raise RemoteProtocolError(f"header block of {len(plain)} bytes cannot hold {count} headers")
    headers = tuple((text(), text()) for _ in range(count))
    if position != len(plain):
        raise RemoteProtocolError(f"{len(plain) - position} bytes after the header block")
    return headers
