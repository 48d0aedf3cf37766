"""Explains why a server was not reached or refused us, and how to correct it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from asyncua import ua
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaStatusCodeError

from edge_agent.errors import ConnectError, EdgeAgentError
from edge_agent.transport import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

_CODES: Final = StatusCodes
TRUST_US: Final = "let the server trust this client's certificate"
_CLIENT_URI: Final = "application_uri must be the URI in the client certificate"
_POLICY: Final = "choose a security policy and mode that the server offers"
_USER: Final = "check the user and the secret, and that the server allows this kind of login"
# Refusals that persist until a setting is changed, and which setting.
_REFUSALS: Final = {
    _CODES.BadSecurityChecksFailed: TRUST_US,
    _CODES.BadCertificateUntrusted: TRUST_US,
    _CODES.BadCertificateInvalid: TRUST_US,
    _CODES.BadCertificateChainIncomplete: TRUST_US,
    _CODES.BadCertificateIssuerRevocationUnknown: TRUST_US,
    _CODES.BadCertificateRevocationUnknown: TRUST_US,
    _CODES.BadCertificateRevoked: "the client certificate was revoked: make a new one",
    _CODES.BadCertificateTimeInvalid: "renew the client certificate, or set the clocks",
    _CODES.BadCertificateUriInvalid: _CLIENT_URI,
    _CODES.BadCertificateUseNotAllowed: "the client certificate lacks a key usage",
    _CODES.BadSecurityPolicyRejected: _POLICY,
    _CODES.BadSecurityModeRejected: _POLICY,
    _CODES.BadSecurityModeInsufficient: _POLICY,
    _CODES.BadNonceInvalid: _POLICY,
    _CODES.BadIdentityTokenInvalid: _USER,
    _CODES.BadIdentityTokenRejected: _USER,
    _CODES.BadUserAccessDenied: _USER,
    _CODES.BadUserSignatureInvalid: "the user's certificate and private key do not fit together",
    _CODES.BadApplicationSignatureInvalid: "the client certificate and key do not fit together",
    _CODES.BadTcpEndpointUrlInvalid: "check the path in the url",
    _CODES.BadServerUriInvalid: "check the url",
}
_POLICY_CODES: Final = frozenset(code for code, hint in _REFUSALS.items() if hint is _POLICY)
_HINTS: Final = {
    _CODES.BadTooManySessions: "the server has no session left: another client may hold them",
}


def status_name(code: int) -> str:
    """The standard's name of a StatusCode; its number if the library has no name."""
    name = str(ua.status_codes.get_name_and_doc(code)[0])
    return name if name != "Good" or code == 0 else f"0x{code:08X}"


@contextmanager
def explained(step: str, where: str) -> Iterator[None]:
    """Convert every error inside to a ConnectError with the step and the endpoint."""
    try:
        yield
    except EdgeAgentError:
        raise
    except UaStatusCodeError as error:
        raise _of_status(step, where, int(error.code)) from error
    except TimeoutError as error:
        raise ConnectError(f"{step}: {str(error) or 'no answer in time'}", where=where) from error
    except OSError as error:
        raise ConnectError(f"{step}: {_reason(error)}", where=where) from error
    except Exception as error:
        # The library raises any exception if a server's answer is unexpected.
        reason = f"the answer was not understood{f': {error}' if str(error) else ''}"
        raise ConnectError(f"{step}: {reason}", where=where) from error


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or "connection lost"


def is_policy(error: ConnectError) -> bool:
    """True if the server refuses the security policy or mode, not our identity."""
    return isinstance(error, RefusedError) and error.code in _POLICY_CODES


def _of_status(step: str, where: str, code: int) -> ConnectError:
    kind = RefusedError if code in _REFUSALS else ConnectError
    hint = _REFUSALS.get(code) or _HINTS.get(code, "")
    error = kind(f"{step}: {status_name(code)}", where=where, hint=hint)
    if isinstance(error, RefusedError):
        error.code = code
    return error
