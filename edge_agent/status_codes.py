"""Status codes of OPC UA (Part 4, 7.39; names of Part 4, Part 8 and Part 11): name, code, meaning.

Every source uses these codes, so that the quality of a value is kept from the wire to the text
of an alarm. The two top bits are the severity of a code, but some kinds of Uncertain are not
measurements: the last value of a device that is gone, or a value that was entered by hand.
"""

from __future__ import annotations

import re
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

# The upper half of each code, in hex, and its name.
_TABLE: Final = """
0000 Good 002D GoodSubscriptionTransferred 002E GoodCompletesAsynchronously 002F GoodOverload
0030 GoodClamped 0096 GoodLocalOverride 00A2 GoodEntryInserted 00A3 GoodEntryReplaced
00A5 GoodNoData 00A6 GoodMoreData 00A7 GoodCommunicationEvent 00A8 GoodShutdownEvent
00A9 GoodCallAgain 00AA GoodNonCriticalTimeout 00BA GoodResultsMayBeIncomplete
00D9 GoodDataIgnored 00DC GoodEdited 00DD GoodPostActionFailed
00DF GoodRetransmissionQueueNotSupported 00E0 GoodDependentValueChanged 00EB GoodSubNormal
00EF GoodPasswordChangeRequired 0116 GoodEdited_DependentValueChanged
0117 GoodEdited_DominantValueChanged 0118 GoodEdited_DominantValueChanged_DependentValueChanged
0401 GoodCascadeInitializationAcknowledged 0402 GoodCascadeInitializationRequest
0403 GoodCascadeNotInvited 0404 GoodCascadeNotSelected 0407 GoodFaultStateActive
0408 GoodInitiateFaultState 0409 GoodCascade 4000 Uncertain 406C UncertainReferenceOutOfServer
408F UncertainNoCommunicationLastUsableValue 4090 UncertainLastUsableValue
4091 UncertainSubstituteValue 4092 UncertainInitialValue 4093 UncertainSensorNotAccurate
4094 UncertainEngineeringUnitsExceeded 4095 UncertainSubNormal 40A4 UncertainDataSubNormal
40BC UncertainReferenceNotDeleted 40C0 UncertainNotAllNodesAvailable
40DE UncertainDominantValueChanged 40E2 UncertainDependentValueChanged 40F2 UncertainOverRange
40F3 UncertainUnderRange 4208 UncertainTransducerInManual 4209 UncertainSimulatedValue
420A UncertainSensorCalibration 420F UncertainConfigurationError 8000 Bad 8001 BadUnexpectedError
8002 BadInternalError 8003 BadOutOfMemory 8004 BadResourceUnavailable 8005 BadCommunicationError
8006 BadEncodingError 8007 BadDecodingError 8008 BadEncodingLimitsExceeded 8009 BadUnknownResponse
800A BadTimeout 800B BadServiceUnsupported 800C BadShutdown 800D BadServerNotConnected
800E BadServerHalted 800F BadNothingToDo 8010 BadTooManyOperations 8011 BadDataTypeIdUnknown
8012 BadCertificateInvalid 8013 BadSecurityChecksFailed 8014 BadCertificateTimeInvalid
8015 BadCertificateIssuerTimeInvalid 8016 BadCertificateHostNameInvalid
8017 BadCertificateUriInvalid 8018 BadCertificateUseNotAllowed
8019 BadCertificateIssuerUseNotAllowed 801A BadCertificateUntrusted
801B BadCertificateRevocationUnknown 801C BadCertificateIssuerRevocationUnknown
801D BadCertificateRevoked 801E BadCertificateIssuerRevoked 801F BadUserAccessDenied
8020 BadIdentityTokenInvalid 8021 BadIdentityTokenRejected 8022 BadSecureChannelIdInvalid
8023 BadInvalidTimestamp 8024 BadNonceInvalid 8025 BadSessionIdInvalid 8026 BadSessionClosed
8027 BadSessionNotActivated 8028 BadSubscriptionIdInvalid 802A BadRequestHeaderInvalid
802B BadTimestampsToReturnInvalid 802C BadRequestCancelledByClient 8031 BadNoCommunication
8032 BadWaitingForInitialData 8033 BadNodeIdInvalid 8034 BadNodeIdUnknown
8035 BadAttributeIdInvalid 8036 BadIndexRangeInvalid 8037 BadIndexRangeNoData
8038 BadDataEncodingInvalid 8039 BadDataEncodingUnsupported 803A BadNotReadable
803B BadNotWritable 803C BadOutOfRange 803D BadNotSupported 803E BadNotFound 803F BadObjectDeleted
8040 BadNotImplemented 8041 BadMonitoringModeInvalid 8042 BadMonitoredItemIdInvalid
8043 BadMonitoredItemFilterInvalid 8044 BadMonitoredItemFilterUnsupported 8045 BadFilterNotAllowed
8046 BadStructureMissing 8047 BadEventFilterInvalid 8048 BadContentFilterInvalid
8049 BadFilterOperandInvalid 804A BadContinuationPointInvalid 804B BadNoContinuationPoints
804C BadReferenceTypeIdInvalid 804D BadBrowseDirectionInvalid 804E BadNodeNotInView
804F BadServerUriInvalid 8050 BadServerNameMissing 8051 BadDiscoveryUrlMissing
8052 BadSemaphoreFileMissing 8053 BadRequestTypeInvalid 8054 BadSecurityModeRejected
8055 BadSecurityPolicyRejected 8056 BadTooManySessions 8057 BadUserSignatureInvalid
8058 BadApplicationSignatureInvalid 8059 BadNoValidCertificates 805A BadRequestCancelledByRequest
805B BadParentNodeIdInvalid 805C BadReferenceNotAllowed 805D BadNodeIdRejected
805E BadNodeIdExists 805F BadNodeClassInvalid 8060 BadBrowseNameInvalid
8061 BadBrowseNameDuplicated 8062 BadNodeAttributesInvalid 8063 BadTypeDefinitionInvalid
8064 BadSourceNodeIdInvalid 8065 BadTargetNodeIdInvalid 8066 BadDuplicateReferenceNotAllowed
8067 BadInvalidSelfReference 8068 BadReferenceLocalOnly 8069 BadNoDeleteRights
806A BadServerIndexInvalid 806B BadViewIdUnknown 806D BadTooManyMatches 806E BadQueryTooComplex
806F BadNoMatch 8070 BadMaxAgeInvalid 8071 BadHistoryOperationInvalid
8072 BadHistoryOperationUnsupported 8073 BadWriteNotSupported 8074 BadTypeMismatch
8075 BadMethodInvalid 8076 BadArgumentsMissing 8077 BadTooManySubscriptions
8078 BadTooManyPublishRequests 8079 BadNoSubscription 807A BadSequenceNumberUnknown
807B BadMessageNotAvailable 807C BadInsufficientClientProfile 807D BadTcpServerTooBusy
807E BadTcpMessageTypeInvalid 807F BadTcpSecureChannelUnknown 8080 BadTcpMessageTooLarge
8081 BadTcpNotEnoughResources 8082 BadTcpInternalError 8083 BadTcpEndpointUrlInvalid
8084 BadRequestInterrupted 8085 BadRequestTimeout 8086 BadSecureChannelClosed
8087 BadSecureChannelTokenUnknown 8088 BadSequenceNumberInvalid 8089 BadConfigurationError
808A BadNotConnected 808B BadDeviceFailure 808C BadSensorFailure 808D BadOutOfService
808E BadDeadbandFilterInvalid 8097 BadRefreshInProgress 8098 BadConditionAlreadyDisabled
8099 BadConditionDisabled 809A BadEventIdUnknown 809B BadNoData 809D BadDataLost
809E BadDataUnavailable 809F BadEntryExists 80A0 BadNoEntryExists 80A1 BadTimestampNotSupported
80AB BadInvalidArgument 80AC BadConnectionRejected 80AD BadDisconnect 80AE BadConnectionClosed
80AF BadInvalidState 80B0 BadEndOfStream 80B1 BadNoDataAvailable 80B2 BadWaitingForResponse
80B3 BadOperationAbandoned 80B4 BadExpectedStreamToBlock 80B5 BadWouldBlock 80B6 BadSyntaxError
80B7 BadMaxConnectionsReached 80B8 BadRequestTooLarge 80B9 BadResponseTooLarge
80BB BadEventNotAcknowledgeable 80BD BadInvalidTimestampArgument
80BE BadProtocolVersionUnsupported 80BF BadStateNotActive 80C1 BadFilterOperatorInvalid
80C2 BadFilterOperatorUnsupported 80C3 BadFilterOperandCountMismatch 80C4 BadFilterElementInvalid
80C5 BadFilterLiteralInvalid 80C6 BadIdentityChangeNotSupported 80C8 BadNotTypeDefinition
80C9 BadViewTimestampInvalid 80CA BadViewParameterMismatch 80CB BadViewVersionInvalid
80CC BadConditionAlreadyEnabled 80CD BadDialogNotActive 80CE BadDialogResponseInvalid
80CF BadConditionBranchAlreadyAcked 80D0 BadConditionBranchAlreadyConfirmed
80D1 BadConditionAlreadyShelved 80D2 BadConditionNotShelved 80D3 BadShelvingTimeOutOfRange
80D4 BadAggregateListMismatch 80D5 BadAggregateNotSupported 80D6 BadAggregateInvalidInputs
80D7 BadBoundNotFound 80D8 BadBoundNotSupported 80DA BadAggregateConfigurationRejected
80DB BadTooManyMonitoredItems 80E1 BadDominantValueChanged 80E3 BadDependentValueChanged
80E4 BadRequestNotAllowed 80E5 BadTooManyArguments 80E6 BadSecurityModeInsufficient
80E7 BadDataSetIdInvalid 80E8 BadTransactionPending 80E9 BadLocked 80EA BadIndexRangeDataMismatch
80EC BadRequiresLock 80ED BadLocaleNotSupported 80EE BadServerTooBusy 80F0 BadNoValue
80F1 BadTransactionFailed 810D BadCertificateChainIncomplete 810E BadLicenseExpired
810F BadLicenseLimitsExceeded 8110 BadLicenseNotAvailable 8111 BadNotExecutable
8112 BadNumericOverflow 8113 BadRequestNotComplete 8114 BadCertificatePolicyCheckFailed
8115 BadAlreadyExists 8119 BadEdited_OutOfRange 811A BadInitialValue_OutOfRange
811B BadOutOfRange_DominantValueChanged 811C BadEdited_OutOfRange_DominantValueChanged
811D BadOutOfRange_DominantValueChanged_DependentValueChanged
811E BadEdited_OutOfRange_DominantValueChanged_DependentValueChanged 811F BadTicketRequired
8120 BadTicketInvalid
"""

_HALF: Final = 16
_UPPER: Final = 0xFFFF_0000
_SEVERITY_SHIFT: Final = 30


class Severity(IntEnum):
    """The usability of a value by its code: the two top bits, except for non-measurements."""

    GOOD = 0
    UNCERTAIN = 1
    BAD = 2


_WORDS: Final = _TABLE.split()
NAMES: Final[Mapping[int, str]] = MappingProxyType(
    {int(half, 16) << _HALF: name for half, name in zip(_WORDS[::2], _WORDS[1::2], strict=True)}
)
_CODES: Final = {re.sub(r"[^a-z]", "", name.lower()): code for code, name in NAMES.items()}


def _codes(*names: str) -> frozenset[int]:
    return frozenset(_CODES[name.lower()] for name in names)


# The path to the sensor is lost: the reported value is old, or missing.
LOST: Final = _codes(
    "UncertainNoCommunicationLastUsableValue",
    "UncertainLastUsableValue",
    "BadNoCommunication",
    "BadNotConnected",
    "BadServerNotConnected",
    "BadCommunicationError",
    "BadTimeout",
    "BadRequestTimeout",
    "BadConnectionClosed",
    "BadConnectionRejected",
    "BadDisconnect",
    "BadSecureChannelClosed",
    "BadSessionClosed",
    "BadShutdown",
    "BadServerHalted",
)
# A number, but not a measurement of the sensor.
NO_MEASUREMENT: Final = _codes(
    "UncertainSubstituteValue",
    "UncertainInitialValue",
    "UncertainSimulatedValue",
    "UncertainTransducerInManual",
)
# About the node, not its value: the address, the rights or the type do not fit.
NODE_REFUSED: Final = _codes(
    "BadNodeIdUnknown",
    "BadNodeIdInvalid",
    "BadNodeIdRejected",
    "BadNoMatch",
    "BadAttributeIdInvalid",
    "BadIndexRangeInvalid",
    "BadIndexRangeNoData",
    "BadNotReadable",
    "BadUserAccessDenied",
    "BadSecurityModeInsufficient",
    "BadObjectDeleted",
    "BadNotFound",
    "BadConfigurationError",
    "BadTypeMismatch",
)
# The value is not a number. The info bits contain its type, see `type_mismatch`.
_TYPE_MISMATCH: Final = 0x8074_0000
_ARRAY: Final = 0x80
_TYPES: Final[Mapping[int, str]] = MappingProxyType(
    {  # Part 6, 5.1.2: built-in types that are not numbers
        12: "String",
        13: "DateTime",
        14: "Guid",
        15: "ByteString",
        16: "XmlElement",
        17: "NodeId",
        18: "ExpandedNodeId",
        19: "StatusCode",
        20: "QualifiedName",
        21: "LocalizedText",
        22: "ExtensionObject",
        23: "DataValue",
        24: "Variant",
        25: "DiagnosticInfo",
    }
)
_LOST: Final = np.array(sorted(LOST), np.uint32)
_OF_NODE: Final = np.array(sorted(NODE_REFUSED), np.uint32)
_NO_DATA: Final = np.array(
    sorted(code for code in LOST | NO_MEASUREMENT if code >> _SEVERITY_SHIFT == Severity.UNCERTAIN),
    np.uint32,
)


def severity_of(status: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The `Severity` of each code, [n]. An Uncertain non-measurement counts as bad."""
    severity: NDArray[np.uint32] = np.minimum(
        status >> np.uint32(_SEVERITY_SHIFT), np.uint32(Severity.BAD)
    )
    doubtful = severity == Severity.UNCERTAIN
    if doubtful.any():
        severity[doubtful & np.isin(status & np.uint32(_UPPER), _NO_DATA)] = Severity.BAD
    return severity


def is_lost(status: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """True for each code that means that the path to the sensor is lost, [n]."""
    lost: NDArray[np.bool_] = np.isin(status & np.uint32(_UPPER), _LOST)
    return lost


def is_of_node(status: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """True for each code that is about the node or its type, not its value, [n]."""
    found: NDArray[np.bool_] = np.isin(status & np.uint32(_UPPER), _OF_NODE)
    return found


def type_mismatch(encoding: int) -> int:
    """The code of a value that is not a number; encoding: the first byte of its Variant."""
    return _TYPE_MISMATCH | (encoding & 0xFF)


def type_of(status: int) -> str:
    """The type in a BadTypeMismatch of ours: `String`, `array`; else an empty text."""
    if status & _UPPER != _TYPE_MISMATCH:
        return ""
    encoding = status & 0xFF
    return "array" if encoding & _ARRAY else _TYPES.get(encoding, "")


def code_of(name: str) -> int | None:
    """The code of a name, whatever its case, blanks and underscores; None for an unknown name."""
    return _CODES.get(re.sub(r"[^a-z]", "", name.lower()))


def name_of(status: int) -> str:
    """The name with the code, `BadNodeIdUnknown (0x80340000)`; an unknown code alone, in hex.

    A type that does not fit is added: `BadTypeMismatch (0x80740000): String`.
    """
    code = status & _UPPER
    name, kind = NAMES.get(code), type_of(status)
    text = f"{name} (0x{code:08X})" if name else f"0x{code:08X}"
    return f"{text}: {kind}" if kind else text
