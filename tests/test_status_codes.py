"""Status codes of OPC UA: names, codes, and what a value of a code is worth."""

from __future__ import annotations

import numpy as np
import pytest
from asyncua.ua.status_codes import StatusCodes

from edge_agent.status_codes import (
    LOST,
    NAMES,
    NO_MEASUREMENT,
    Severity,
    code_of,
    is_lost,
    is_of_node,
    name_of,
    severity_of,
    type_mismatch,
)


def test_names_and_codes_are_those_of_the_opc_ua_library() -> None:
    """The table is ours, so that no OPC UA library is loaded for a broker; it must not be wrong."""
    theirs = {name: code for name, code in vars(StatusCodes).items() if name[0] != "_"}
    assert {name: code for code, name in NAMES.items()} == theirs


@pytest.mark.parametrize(
    "text",
    ["BadNodeIdUnknown", "badnodeidunknown", "Bad_NodeIdUnknown", "Bad: node id unknown"],
)
def test_a_name_is_known_however_it_is_written(text: str) -> None:
    assert code_of(text) == 0x8034_0000


def test_what_is_no_name_has_no_code() -> None:
    assert code_of("splendid") is None
    assert code_of("") is None


def test_a_code_is_shown_with_its_name_and_without_its_info_bits() -> None:
    assert name_of(0x8034_0480) == "BadNodeIdUnknown (0x80340000)"
    assert name_of(0x8ABC_0000) == "0x8ABC0000"


def test_an_old_value_of_a_lost_device_is_not_data() -> None:
    """Part 8: the name says uncertain, the meaning is that nobody measures any more."""
    codes = [0, 0x408F_0000, 0x4090_0000, 0x4091_0000, 0x4093_0000, 0x8000_0000, 0xC000_0000]
    severities = severity_of(np.array(codes, np.uint32)).tolist()
    assert severities == [0, 2, 2, 2, 1, 2, 2]


@pytest.mark.parametrize("code", sorted(LOST | NO_MEASUREMENT))
def test_no_code_of_the_tables_passes_for_a_measurement(code: int) -> None:
    status = np.array([code | 0x0480], np.uint32)
    assert severity_of(status)[0] == Severity.BAD
    assert is_lost(status)[0] == (code in LOST)


def test_a_type_that_does_not_fit_is_named() -> None:
    """The type travels in the info bits of our own code; a code from the wire has none there."""
    assert name_of(type_mismatch(12)) == "BadTypeMismatch (0x80740000): String"
    assert name_of(type_mismatch(0x8B)) == "BadTypeMismatch (0x80740000): array"
    assert name_of(0x8074_0000) == "BadTypeMismatch (0x80740000)"
    assert is_of_node(np.array([type_mismatch(12), 0x808C_0000], np.uint32)).tolist() == [
        True,
        False,
    ]
