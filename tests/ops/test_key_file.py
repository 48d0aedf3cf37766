"""The file of the API keys: it is as it was written, or it is refused as a whole."""

from __future__ import annotations

import os
import re
import stat
import threading
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import EdgeAgentError
from edge_agent.ops.key_file import (
    MAX_BYTES,
    MAX_KEYS,
    SECRET_FORM,
    Key,
    changed_keys,
    id_of,
    is_well_formed,
    new_key,
    parse_keys,
    read_keys,
)

if TYPE_CHECKING:
    from pathlib import Path

NOW_MS = 1_767_225_600_000


def add(path: Path, name: str = "mes", *scopes: str, **more: Any) -> tuple[Key, str]:
    """Make a key in a file; return it with its secret."""
    key, secret = new_key(name, scopes or ("infer",), NOW_MS, **more)
    with changed_keys(path) as keys:
        keys[key.id] = key
    return key, secret


# -- secrets --------------------------------------------------------------------------------------


def test_a_secret_has_one_form_that_scanners_find() -> None:
    """A prefix, 190 random bits, and a checksum that tells a cut or mistyped one."""
    key, secret = new_key("mes", ["infer"], NOW_MS)
    assert re.fullmatch(r"edgeagent_[0-9A-Za-z]{46}", secret)
    assert SECRET_FORM.fullmatch(secret)
    assert is_well_formed(secret)
    assert id_of(secret) == key.id
    assert key.matches(secret)
    assert not is_well_formed(secret[:-1])
    swapped = secret[:12] + secret[13] + secret[12] + secret[14:]
    assert swapped == secret or not is_well_formed(swapped)


def test_neither_secret_nor_hash_is_shown() -> None:
    """In no representation, as it may stand in a log; and the file holds no secret."""
    key, secret = new_key("mes", ["infer"], NOW_MS)
    for shown in (repr(key), str(key), f"{[key]}"):
        assert key.sha256 not in shown
        assert key.salt not in shown
        assert secret[len("edgeagent_") + 8 :] not in shown


def test_two_keys_share_neither_secret_nor_salt() -> None:
    one, other = (new_key("mes", ["infer"], NOW_MS) for _ in range(2))
    assert one[1] != other[1]
    assert one[0].salt != other[0].salt
    assert not one[0].matches(other[1])


@pytest.mark.parametrize("name", ["", "token", "a b", "ä", "-x", "x" * 29, "a\nb"])
def test_a_name_that_could_be_misread_is_refused(name: str) -> None:
    """`token` is the name of `http.token` in the audit."""
    with pytest.raises(EdgeAgentError, match="not a name"):
        new_key(name, ["infer"], NOW_MS)


# -- the file -------------------------------------------------------------------------------------


def test_what_is_written_is_read_and_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    limits: dict[str, Any] = {"rate": 2.5, "concurrency": 3, "max_body": 1024}
    key, secret = add(path, "mes", "infer", "read", expires_ms=NOW_MS + 1, **limits)
    other, _ = add(path, "panel", "command")
    assert read_keys(path) == {key.id: key, other.id: other}
    assert read_keys(path)[key.id].matches(secret)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret.encode() not in path.read_bytes()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["keys.json", "keys.json.lock"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o620])
def test_a_file_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    add(path := tmp_path / "keys.json")
    path.chmod(mode)
    with pytest.raises(EdgeAgentError, match=rf"mode {mode:o}.*chmod 600"):
        read_keys(path)


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(path := tmp_path / "keys.json")
    if os.geteuid() == 0:
        os.chown(path, 4711, 4711)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(EdgeAgentError, match="belongs to user"):
        read_keys(path)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    """A pipe would wait for ever."""
    os.mkfifo(path := tmp_path / "keys.json", 0o600)
    for one in (path, tmp_path):
        with pytest.raises(EdgeAgentError):
            read_keys(one)


def test_a_change_of_a_damaged_file_is_refused_and_leaves_it(tmp_path: Path) -> None:
    add(path := tmp_path / "keys.json")
    path.write_bytes(path.read_bytes()[:-20])
    damaged = path.read_bytes()
    with pytest.raises(EdgeAgentError, match="restore it"):
        add(path, "other")
    assert path.read_bytes() == damaged


def test_an_error_while_it_is_changed_leaves_the_old_one(tmp_path: Path) -> None:
    key, _ = add(path := tmp_path / "keys.json")
    with pytest.raises(KeyError), changed_keys(path) as keys:
        del keys[key.id], keys["no such key"]
    assert read_keys(path) == {key.id: key}


def test_two_changes_at_a_time_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    threads = [threading.Thread(target=add, args=(path, f"k{number}")) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert {key.name for key in read_keys(path).values()} == {f"k{number}" for number in range(8)}


def test_there_is_a_most_of_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    made = [new_key(f"k{number}", ["infer"], NOW_MS)[0] for number in range(MAX_KEYS + 1)]
    with pytest.raises(EdgeAgentError, match="revoke"), changed_keys(path) as keys:
        keys |= {key.id: key for key in made}


# -- damage ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file of two keys, one of them revoked."""
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    add(path, "mes", "infer", expires_ms=NOW_MS)
    add(path, "panel", "command", revoked_ms=NOW_MS, rate=1.0)
    return path.read_bytes()


def refused_or_equal(content: bytes, written: bytes) -> bool:
    """True if it is refused; it must be, unless it says the same."""
    try:
        found = parse_keys(content, "keys.json")
    except EdgeAgentError:
        return True
    assert found == parse_keys(written, "keys.json")
    return False


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_never_read_as_something_else(
    data: st.DataObject, written: bytes
) -> None:
    """Bytes that are changed, cut out or put in: all is refused, or all is as it was written."""
    at = data.draw(st.integers(0, len(written) - 1))
    end = data.draw(st.integers(at, min(len(written), at + 64)))
    put = data.draw(st.binary(max_size=8))
    refused_or_equal(written[:at] + put + written[end:], written)


@settings(max_examples=300, deadline=None)
@given(content=st.binary(max_size=300))
def test_what_was_never_a_file_of_keys_is_refused(content: bytes) -> None:
    with pytest.raises(EdgeAgentError):
        parse_keys(content, "keys.json")


def test_each_flipped_bit_and_each_cut_is_refused(written: bytes) -> None:
    """All of them, in the part that says what a key may do."""
    begin = written.index(b'"keys"')
    ends = [written[:end] for end in range(len(written) - 1)]
    assert all(refused_or_equal(one, written) for one in ends)
    spaces = {at for at in range(begin, len(written)) if written[at] in b" \n"}
    for at in sorted(set(range(begin, len(written))) - spaces):
        flipped = bytearray(written)
        flipped[at] ^= 1 << (at % 7)
        assert refused_or_equal(bytes(flipped), written), written[at - 10 : at + 10]


def signed(rows: object) -> bytes:
    """A file whose checksum is right, whatever it holds."""
    from edge_agent.ops.key_file import _sum  # noqa: PLC0415 (only of this forger)

    return orjson.dumps({"version": 1, "sha256": _sum(rows), "keys": rows})


@pytest.mark.parametrize(
    "change",
    [
        {"scopes": []},
        {"scopes": ["everything"]},
        {"scopes": "infer"},
        {"scopes": [["infer"]]},
        {"name": "token"},
        {"name": "x\ny"},
        {"id": "short"},
        {"expires_ms": "never"},
        {"expires_ms": True},
        {"expires_ms": -1},
        {"expires_ms": 1.5},
        {"created_ms": None},
        {"revoked_ms": False},
        {"salt": ""},
        {"sha256": "0"},
        {"rate": 0},
        {"rate": "10"},
        {"concurrency": 0},
        {"max_body": 0},
        {"more": 1},
    ],
)
def test_a_row_that_is_no_key_refuses_the_file(change: dict[str, Any], written: bytes) -> None:
    """Also if its checksum is right: whoever wrote it knew what that is, and no more."""
    rows = orjson.loads(written)["keys"]
    assert len(parse_keys(signed(rows), "")) == len(rows)
    with pytest.raises(EdgeAgentError):
        parse_keys(signed([rows[0] | change, rows[1]]), "")


def test_two_rows_of_one_name_or_id_refuse_the_file(written: bytes) -> None:
    one, other = orjson.loads(written)["keys"]
    for name in ("name", "id"):
        with pytest.raises(EdgeAgentError):
            parse_keys(signed([one, other | {name: one[name]}]), "")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"x" * (MAX_BYTES + 1)])
def test_an_empty_or_oversized_file_is_refused(content: bytes) -> None:
    with pytest.raises(EdgeAgentError):
        parse_keys(content, "")
