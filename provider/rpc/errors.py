"""CloudError over gRPC: one table of codes, and the details that carry what a status code cannot.

A refusal ends the call with the status of the table and a google.rpc.Status in the trailing metadata, whose detail is
an `ErrorDetail` (code, message, retry_after). So our own client gets the very CloudError back, and every other one a
status it understands. A status without our detail was made on the way (the connection, a deadline, a limit of gRPC):
`from_status` says which CloudError that is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError

from provider.model.errors import CloudCode, CloudError
from provider.rpc.gen.elastic.v1 import error_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

STATUS_OF: Final[Mapping[CloudCode, grpc.StatusCode]] = {
    CloudCode.NO_STOCK: grpc.StatusCode.RESOURCE_EXHAUSTED,
    CloudCode.IP_NOT_ENOUGH: grpc.StatusCode.RESOURCE_EXHAUSTED,
    CloudCode.QUOTA_EXCEEDED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    CloudCode.THROTTLING: grpc.StatusCode.RESOURCE_EXHAUSTED,
    CloudCode.ZONE_NOT_ON_SALE: grpc.StatusCode.FAILED_PRECONDITION,
    CloudCode.INVALID_PARAMETER: grpc.StatusCode.INVALID_ARGUMENT,
    CloudCode.UNSUPPORTED: grpc.StatusCode.UNIMPLEMENTED,
    CloudCode.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    CloudCode.TOKEN_CONFLICT: grpc.StatusCode.ALREADY_EXISTS,
    CloudCode.INCORRECT_STATUS: grpc.StatusCode.FAILED_PRECONDITION,
    CloudCode.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    CloudCode.INTERNAL: grpc.StatusCode.INTERNAL,
}

_UNAVAILABLE_SECONDS: Final = 1.0
"""retry_after of a failure of the connection; the channel itself backs off up to some seconds."""

_ON_THE_WAY: Final[Mapping[grpc.StatusCode, tuple[CloudCode, float | None, str]]] = {
    grpc.StatusCode.UNAVAILABLE: (CloudCode.UNAVAILABLE, _UNAVAILABLE_SECONDS, "cannot be reached"),
    grpc.StatusCode.CANCELLED: (CloudCode.UNAVAILABLE, _UNAVAILABLE_SECONDS, "ended the call"),
    grpc.StatusCode.ABORTED: (CloudCode.UNAVAILABLE, _UNAVAILABLE_SECONDS, "ended the call"),
    grpc.StatusCode.DEADLINE_EXCEEDED: (CloudCode.UNAVAILABLE, _UNAVAILABLE_SECONDS, "did not answer in time"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (CloudCode.QUOTA_EXCEEDED, _UNAVAILABLE_SECONDS, "is at a limit of its own"),
    grpc.StatusCode.UNIMPLEMENTED: (CloudCode.UNSUPPORTED, None, "does not know this call; it runs another version"),
    grpc.StatusCode.UNAUTHENTICATED: (CloudCode.INTERNAL, None, "does not accept this client; look at its TLS files"),
    grpc.StatusCode.PERMISSION_DENIED: (CloudCode.INTERNAL, None, "does not accept this client; look at its TLS files"),
}
"""code, retry_after and what the server did, for a status that did not come from the cloud; INTERNAL otherwise."""

_BROKEN_WRITE: Final = "Internal error from Core"
"""What grpc.aio makes of a write on a call that the other end, or the connection, has just ended."""

DETAILS_KEY: Final = "grpc-status-details-bin"
_TYPE_URL: Final = "type.googleapis.com/elastic.v1.ErrorDetail"
_STATUS_TEXT: Final = 500
_DETAIL_TEXT: Final = 8_000
"""Characters. Trailing metadata has a limit (see options.py), and percent-encoding can triple the status text."""


def to_status(error: CloudError) -> tuple[grpc.StatusCode, str, tuple[tuple[str, bytes]]]:
    """Return status, text and trailing metadata for a refusal; a longer text is cut at 8,000 characters."""
    status = STATUS_OF[error.code]
    detail = error_pb2.ErrorDetail(
        code=error.code.value,
        message=_cut(error.message, _DETAIL_TEXT),
        retry_after=error.retry_after,
    )
    text = _cut(error.message, _STATUS_TEXT)
    details = [AnyMessage(type_url=_TYPE_URL, value=detail.SerializeToString())]
    rich = error_pb2.Status(code=status.value[0], message=text, details=details)
    return status, text, ((DETAILS_KEY, rich.SerializeToString()),)


def from_status(code: grpc.StatusCode, text: str, metadata: Iterable[tuple[str, str | bytes]], peer: str) -> CloudError:
    """Return the refusal that a failed call tells of; `peer` is the server's address, for the text."""
    for key, value in metadata:
        if key == DETAILS_KEY and isinstance(value, bytes) and (error := _from_details(value)):
            return error
    if code is grpc.StatusCode.INTERNAL and text == _BROKEN_WRITE:
        code = grpc.StatusCode.UNAVAILABLE
    cloud_code, retry_after, what = _ON_THE_WAY.get(code, (CloudCode.INTERNAL, None, "failed"))
    return CloudError(cloud_code, f"the elastic API at {peer} {what} ({code.name}: {text})", retry_after)


def from_rpc_error(error: Any, peer: str) -> CloudError:
    """Return the refusal of a grpc.aio.AioRpcError."""
    return from_status(error.code(), error.details() or "", error.trailing_metadata() or (), peer)


def _from_details(value: bytes) -> CloudError | None:
    """Return the refusal in a google.rpc.Status; None if it holds none of ours, or a code of another version."""
    try:
        for detail in error_pb2.Status.FromString(value).details:
            if detail.type_url == _TYPE_URL:
                found = error_pb2.ErrorDetail.FromString(detail.value)
                retry_after = found.retry_after if found.HasField("retry_after") else None
                return CloudError(CloudCode(found.code), found.message, retry_after)
    except (DecodeError, ValueError):
        return None
    return None


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 4]} ..."
