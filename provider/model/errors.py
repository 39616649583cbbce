"""The vocabulary of refusals: what a user did wrong (Rejection), what the cloud cannot do now (CloudError).

Anything else that is raised is a bug; it crashes its worker loudly, which starts again with back-off.
"""

from __future__ import annotations

from enum import StrEnum


class CloudCode(StrEnum):
    """Codes of the elastic API; the published ECI string where one exists. `rpc/errors.py` maps them to gRPC."""

    NO_STOCK = "OperationDenied.NoStock"
    IP_NOT_ENOUGH = "InvalidVSwitchId.IpNotEnough"
    QUOTA_EXCEEDED = "QuotaExceeded"
    THROTTLING = "Throttling"
    ZONE_NOT_ON_SALE = "Zone.NotOnSale"
    INVALID_PARAMETER = "InvalidParameter"
    UNSUPPORTED = "UnsupportedOperation"
    NOT_FOUND = "InvalidContainerGroup.NotFound"
    TOKEN_CONFLICT = "IdempotentParameterMismatch"  # noqa: S105 - a client token is no secret
    INCORRECT_STATUS = "IncorrectStatus"
    UNAVAILABLE = "ServiceUnavailable"
    INTERNAL = "InternalError"


class CloudError(Exception):
    """A refusal or failure of the cloud: code, text for people, and seconds after which to try again (None: never)."""

    def __init__(self, code: CloudCode, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retry_after = retry_after


class Rejection(Exception):  # noqa: N818 - a refusal of the pod as written, the kubelet's word for it is "reject"
    """A pod that can never run as it is written: reason (CamelCase, goes to status.reason), message, path of the field.

    `terminal` False: the kubelet would keep the pod Pending and try again (a missing ConfigMap); `waiting` then is the
    reason that the container's waiting state shows, for example `CreateContainerConfigError`.
    """

    def __init__(self, reason: str, message: str, *, field: str = "", terminal: bool = True, waiting: str = "") -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.field = field
        self.terminal = terminal
        self.waiting = waiting
