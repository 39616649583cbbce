"""One table, both ways; and what a status means that the cloud did not send."""

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage

from provider.model.errors import CloudCode, CloudError
from provider.rpc.errors import DETAILS_KEY, STATUS_OF, from_status, to_status
from provider.rpc.gen.elastic.v1 import error_pb2

TABLE = {
    "OperationDenied.NoStock": "RESOURCE_EXHAUSTED",
    "InvalidVSwitchId.IpNotEnough": "RESOURCE_EXHAUSTED",
    "QuotaExceeded": "RESOURCE_EXHAUSTED",
    "Throttling": "RESOURCE_EXHAUSTED",
    "Zone.NotOnSale": "FAILED_PRECONDITION",
    "InvalidParameter": "INVALID_ARGUMENT",
    "UnsupportedOperation": "UNIMPLEMENTED",
    "InvalidContainerGroup.NotFound": "NOT_FOUND",
    "IdempotentParameterMismatch": "ALREADY_EXISTS",
    "IncorrectStatus": "FAILED_PRECONDITION",
    "ServiceUnavailable": "UNAVAILABLE",
    "InternalError": "INTERNAL",
}
"""The table of error.proto."""


def test_the_table_is_the_one_of_the_specification() -> None:
    assert {code.value: status.name for code, status in STATUS_OF.items()} == TABLE
    assert set(STATUS_OF) == set(CloudCode)


@pytest.mark.parametrize("retry_after", [None, 0.0, 2.5])
@pytest.mark.parametrize("code", CloudCode)
def test_a_refusal_comes_back_as_it_was(code: CloudCode, retry_after: float | None) -> None:
    status, text, metadata = to_status(CloudError(code, "zone-a: Größe 100 vCPU\n", retry_after))
    assert status.name == TABLE[code.value]
    back = from_status(status, text, metadata, "unix:/x")
    assert (back.code, back.message, back.retry_after) == (code, "zone-a: Größe 100 vCPU\n", retry_after)


def test_the_details_are_a_google_rpc_status() -> None:
    """Field by field, as google/rpc/status.proto numbers them, so that any client reads them."""
    _, _, ((key, value),) = to_status(CloudError(CloudCode.NOT_FOUND, "no such group"))
    assert key == "grpc-status-details-bin"
    status = error_pb2.Status.FromString(value)
    assert (status.code, status.message) == (grpc.StatusCode.NOT_FOUND.value[0], "no such group")
    assert status.details[0].type_url == "type.googleapis.com/elastic.v1.ErrorDetail"
    assert {field.name: field.number for field in error_pb2.Status.DESCRIPTOR.fields} == {
        "code": 1,
        "message": 2,
        "details": 3,
    }


def test_a_long_text_is_cut() -> None:
    status, text, metadata = to_status(CloudError(CloudCode.INTERNAL, "ü" * 100_000))
    assert len(text) == 500
    assert len(metadata[0][1]) < 20_000
    back = from_status(status, text, metadata, "unix:/x")
    assert len(back.message) == 8_000
    assert back.message.endswith("ü ...")


@pytest.mark.parametrize(
    ("status", "code", "retries", "words"),
    [
        (grpc.StatusCode.UNAVAILABLE, CloudCode.UNAVAILABLE, True, "cannot be reached"),
        (grpc.StatusCode.CANCELLED, CloudCode.UNAVAILABLE, True, "ended the call"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, CloudCode.UNAVAILABLE, True, "did not answer in time"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, CloudCode.QUOTA_EXCEEDED, True, "is at a limit of its own"),
        (grpc.StatusCode.UNIMPLEMENTED, CloudCode.UNSUPPORTED, False, "does not know this call"),
        (grpc.StatusCode.UNAUTHENTICATED, CloudCode.INTERNAL, False, "does not accept this client"),
        (grpc.StatusCode.UNKNOWN, CloudCode.INTERNAL, False, "failed"),
    ],
)
def test_a_status_from_the_way_names_the_server(
    status: grpc.StatusCode, code: CloudCode, retries: bool, words: str
) -> None:
    error = from_status(status, "some text", [("other", "x")], "unix:/run/elastic.sock")
    assert error.code is code
    assert (error.retry_after is not None) is retries
    assert f"unix:/run/elastic.sock {words}" in error.message
    assert "some text" in error.message


def test_a_write_on_a_broken_call_is_no_internal_error() -> None:
    error = from_status(grpc.StatusCode.INTERNAL, "Internal error from Core", (), "host:1")
    assert error.code is CloudCode.UNAVAILABLE
    assert from_status(grpc.StatusCode.INTERNAL, "another", (), "host:1").code is CloudCode.INTERNAL


@pytest.mark.parametrize(
    "value",
    [
        b"\xff\xff\xff",
        b"",
        error_pb2.Status(details=[AnyMessage(type_url="type.googleapis.com/other.Detail")]).SerializeToString(),
        error_pb2.Status(
            details=[
                AnyMessage(
                    type_url="type.googleapis.com/elastic.v1.ErrorDetail",
                    value=error_pb2.ErrorDetail(code="Code.OfNextYear").SerializeToString(),
                )
            ]
        ).SerializeToString(),
    ],
)
def test_details_that_are_not_ours_leave_the_status(value: bytes) -> None:
    error = from_status(grpc.StatusCode.UNAVAILABLE, "text", [(DETAILS_KEY, value)], "host:1")
    assert error.code is CloudCode.UNAVAILABLE
