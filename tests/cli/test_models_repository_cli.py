"""`edge-agent models`: from a file on somebody's desk to the model at work, and back."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_agent.cli import api_client, main
from edge_agent.cli.models import look, wait
from edge_agent.errors import ConnectError, EdgeAgentError
from edge_agent.models.bundle.bundle import load_manifest, write_bundle
from edge_agent.models.bundle.manifest import InputSpec, Manifest, OutputNames, Task, WindowSpec
from edge_agent.models.repository.repository import ModelRepository

if TYPE_CHECKING:
    from pathlib import Path

NOWHERE = "http://127.0.0.1:9"  # nobody listens on the discard port
X = np.random.default_rng(0).random((4, 8, 2)).astype(np.float32)


def onnx_of(factor: float) -> bytes:
    """score = factor * mean of the window."""
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "factor"], ["scaled"]),
            helper.make_node("ReduceMean", ["scaled"], ["score"], axes=[1, 2], keepdims=0),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8, 2])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"])],
        [numpy_helper.from_array(np.float32(factor), "factor")],
    )
    versions = [helper.make_opsetid("", 17)]
    proto = helper.make_model(graph, opset_imports=versions, ir_version=8)
    return bytes(proto.SerializeToString())


def manifest(version: str, name: str = "pump") -> Manifest:
    return Manifest(
        name=name,
        version=version,
        task=Task.ANOMALY,
        inputs=(InputSpec("flow"), InputSpec("pressure")),
        outputs=OutputNames(score="score"),
        window=WindowSpec(1.0, 8, 1),
    )


def write(folder: Path, version: str, name: str = "pump") -> Path:
    golden = ({"x": X}, {"score": float(version) * X.mean(axis=(1, 2))})
    write_bundle(folder / name, manifest(version, name), onnx_of(float(version)), golden)
    return folder / name


class Desk(NamedTuple):
    """A gateway's folder and config, and the maker's key."""

    root: Path
    models: Path
    config: Path
    key: Path

    def made(self, version: str, *, signed: bool = True, name: str = "pump") -> Path:
        """An archive of that version."""
        folder = write(self.root / f"made-{version}", version, name)
        if signed:
            run("sign", folder, "--key", self.key)
        run("pack", folder, "-o", self.root)
        return self.root / f"{name}-{version}.eab"

    def run(self, *words: object) -> int:
        """A verb for this gateway, whose daemon does not run."""
        return run(*words, "-c", self.config)


def run(*words: object) -> int:
    return main(["models", *map(str, words)])


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    (tmp_path / "desk").mkdir()
    run("keygen", tmp_path / "desk" / "plant")
    config = tmp_path / "gateway" / "edge-agent.yaml"
    config.parent.mkdir()
    config.write_text(
        "models_dir: models\n"
        "trust: {keys: [../desk/plant.pub]}\n"
        "http: {port: 9}\n"
        "sources: {plant: {type: replay, path: gone.csv}}\n"
        "templates: {pump: {signals: {flow: {}, pressure: {}}}}\n"
        "assets: {P-1: {template: pump}}\n"
    )
    capsys.readouterr()
    return Desk(
        tmp_path / "desk", config.parent / "models", config, tmp_path / "desk" / "plant.key"
    )


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Any:
    """What was printed since: out and err."""
    return capsys.readouterr


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


# -- the good way -----------------------------------------------------------------------------


def test_from_the_desk_to_work_and_back(desk: Desk, told: Any) -> None:
    first, second = desk.made("1"), desk.made("2")
    told()
    assert desk.run("install", first) == 0
    assert "pump 1: on the shelf (signed by " in told().out
    assert not (desk.models / "pump").exists()
    assert desk.run("activate", "pump") == 0
    assert "pump 1: chosen: no daemon answers at http://127.0.0.1:9" in told().out
    assert desk.run("install", second, "--activate") == 0
    assert load_manifest(desk.models / "pump").version == "2"
    assert desk.run("rollback", "pump") == 0
    assert load_manifest(desk.models / "pump").version == "1"
    told()
    assert desk.run("rollback", "pump") == 1
    assert told().err == "model pump: no earlier version is on the shelf\n"


def test_json_says_the_same_to_programs(desk: Desk, told: Any) -> None:
    file = desk.made("1")
    told()
    assert desk.run("install", file, "--activate", "--json") == 0
    row = json.loads(told().out)
    assert row["name"] == "pump"
    assert (row["version"], row["variant"], row["state"]) == ("1", "fp32", "on disk")
    assert len(row["signer"]) == 16


def test_list_shows_what_each_version_is_there_for(desk: Desk, told: Any) -> None:
    for version in ("1", "2", "3", "4"):
        desk.run("install", desk.made(version))
    desk.run("activate", "pump@1")
    desk.run("activate", "pump@2")
    desk.run("shadow", "pump@3")
    told()
    assert desk.run("list", "--json") == 0
    rows = json.loads(told().out)["bundles"]
    assert [(row["version"], row["state"]) for row in rows] == [
        ("2", "active"),
        ("4", "shelf"),
        ("3", "shadow"),
        ("1", "previous"),
    ]
    assert {len(row["signer"]) for row in rows} == {16}


def test_list_asks_the_daemon_what_it_refused(
    desk: Desk, told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was rolled back is no version to activate again, and the list says why."""
    for version in ("1", "2"):
        desk.run("install", desk.made(version))
    desk.run("activate", "pump@1")
    gone = row(refused="1 of 3 scores are no\nnumber", refused_version="2", refused_ms=1)
    asked: list[str] = []

    def ask(url: str, path: str, _query: object) -> list[dict[str, Any]]:
        asked.append(url + path)
        return [gone, row(mode="shadow")]

    monkeypatch.setattr(look, "ask", ask)
    told()
    assert desk.run("list", "--json") == 0
    rows = json.loads(told().out)["bundles"]
    assert [(r["version"], r["state"], r["reason"]) for r in rows] == [
        ("1", "active", ""),
        ("2", "refused", "1 of 3 scores are no?number"),
    ]
    assert asked == [f"{NOWHERE}/api/models"]
    assert desk.run("list") == 0
    *_, second, why = told().out.splitlines()
    assert second.split()[:3] == ["pump", "2", "refused"]
    assert why == "pump 2: refused: 1 of 3 scores are no?number"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (ConnectError("no answer"), ""),
        (EdgeAgentError("HTTP 401", where=NOWHERE), f"{NOWHERE}: HTTP 401\n"),
        ([1], f"{NOWHERE}: what answers there is not edge-agent\n"),
        ([{"refused_version": "1"}], f"{NOWHERE}: what answers there is not edge-agent\n"),
    ],
)
def test_the_list_of_the_disk_needs_no_daemon(
    answer: Any, says: str, desk: Desk, told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.run("install", desk.made("1"))
    answers = Answers(answer)
    monkeypatch.setattr(look, "ask", lambda *_: answers())
    told()
    assert desk.run("list") == 0
    out, err = told()
    assert out.splitlines()[1].split()[:3] == ["pump", "1", "shelf"]
    assert err == says


def test_a_shadow_begins_and_ends(desk: Desk, told: Any) -> None:
    desk.run("install", desk.made("1"))
    assert desk.run("shadow", "pump@1") == 0
    assert ModelRepository(desk.models).shadow("pump") == "1"
    assert desk.run("shadow", "pump", "--off") == 0
    assert ModelRepository(desk.models).shadow("pump") is None
    told()
    assert desk.run("shadow", "pump@9") == 1
    assert "pump@9: no such version (there: 1)" in told().err


def test_a_folder_can_be_installed_too(desk: Desk) -> None:
    folder = write(desk.root, "1")
    run("sign", folder, "--key", desk.key)
    assert desk.run("install", folder) == 0
    assert ModelRepository(desk.models).versions("pump") == ["1"]


def test_an_archive_can_be_signed_and_verified(desk: Desk, told: Any) -> None:
    file = desk.made("1", signed=False)
    assert run("sign", file, "--key", desk.key) == 0
    key = told().out.split()[-1]
    run("pack", desk.root / "made-1" / "pump", "-o", desk.root / "plain.eab")
    assert told().out.endswith("not signed\n")
    with zipfile.ZipFile(file) as archive:
        assert json.loads(archive.read("model.sig"))["key_id"] == key
    assert desk.run("verify", file) == 0
    assert "pump 1: ok" in told().out
    assert desk.run("install", file) == 0


def test_packing_signs_the_archive_and_leaves_the_folder_as_it_is(desk: Desk, told: Any) -> None:
    folder = write(desk.root, "1")
    before = tree(folder)
    told()
    assert run("pack", folder, "-o", desk.root, "--key", desk.key) == 0
    assert ", signed with key " in told().out
    assert tree(folder) == before
    assert desk.run("install", desk.root / "pump-1.eab") == 0
    (folder / "model.onnx").write_bytes(onnx_of(9.0))
    told()
    assert run("pack", folder, "-o", desk.root, "--key", desk.key) == 1
    assert f"{folder}/model.onnx" in told().err


def _edited(desk: Desk) -> Path:
    """Its manifest was changed after it was signed."""
    folder = write(desk.root, "1")
    run("sign", folder, "--key", desk.key)
    text = (folder / "model.yaml").read_text()
    (folder / "model.yaml").write_text(text.replace("version: '1'", "version: '7'"))
    return folder


def _of_a_stranger(desk: Desk) -> Path:
    run("keygen", desk.root / "evil")
    run("sign", write(desk.root, "1"), "--key", desk.root / "evil.key")
    return desk.root / "pump"


@pytest.mark.parametrize(
    ("made", "signer", "told_of"),
    [
        (_edited, "broken", "the signature is not of this model.yaml"),
        (_of_a_stranger, "not trusted", "which is not trusted"),
        (lambda desk: write(desk.root, "1"), "unsigned", "it is not signed"),
        (lambda desk: desk.made("1", signed=False), "unsigned", "pump-1.eab: it is not signed"),
    ],
)
def test_verify_refuses_what_the_daemon_refuses(
    made: Any, signer: str, told_of: str, desk: Desk, told: Any
) -> None:
    """With keys in the config a signature counts as any other check; without a config none does."""
    bundle = made(desk)
    told()
    assert desk.run("verify", bundle) == 1
    out, err = told()
    assert out == ""
    assert told_of in err
    assert len(err.splitlines()) == 1
    assert desk.run("verify", bundle, "--json") == 1
    row = json.loads(told().out)
    assert (row["ok"], row["signer"]) == (False, signer)
    assert told_of in row["problems"][0]
    assert run("verify", bundle) == 0


def test_verify_takes_what_is_allowed_by_name(desk: Desk, told: Any) -> None:
    folder = write(desk.root, "1")
    text = desk.config.read_text().replace("plant.pub]", "plant.pub], allow_unsigned: [pump]")
    desk.config.write_text(text)
    told()
    assert desk.run("verify", folder) == 0
    assert "signer: unsigned" in told().out


def test_an_onnx_becomes_a_bundle(desk: Desk, told: Any) -> None:
    """With its own golden inputs, and a variant."""
    (desk.root / "pump.onnx").write_bytes(onnx_of(1.0))
    (desk.root / "small.onnx").write_bytes(onnx_of(1.001))
    (desk.root / "model.yaml").write_text(
        "name: pump\nversion: '7'\ntask: anomaly\ninputs: [{name: flow}, {name: pressure}]\n"
        "outputs: {score: score}\nwindow: {length: 8}\nthreshold: 0.5\n"
    )
    np.savez(desk.root / "in.npz", x=X, anomalous=np.array([0, 0, 1, 1]))
    words = ("pack", desk.root / "pump.onnx", "--golden", desk.root / "in.npz")
    words += ("--variant", f"int8={desk.root / 'small.onnx'}", "--key", desk.key)
    assert run(*words, "-o", desk.root) == 0
    told()
    assert desk.run("verify", desk.root / "pump-7.eab", "--json") == 0
    found = json.loads(told().out)
    assert [row["variant"] for row in found["variants"]["figures"]] == ["fp32", "int8"]
    assert len(found["signer"]) == 16


# -- what is refused changes nothing ----------------------------------------------------------


def _flip(at: float) -> Any:
    def change(file: Path) -> None:
        raw = bytearray(file.read_bytes())
        raw[int(at * len(raw))] ^= 1
        file.write_bytes(raw)

    return change


def _remake(**members: bytes) -> Any:
    def change(file: Path) -> None:
        with zipfile.ZipFile(file) as old:
            contents = {name: old.read(name) for name in old.namelist()} | members
        with zipfile.ZipFile(file, "w") as new:
            for name, raw in contents.items():
                new.writestr(name, raw)

    return change


def _other_manifest(file: Path) -> None:
    with zipfile.ZipFile(file) as old:
        text = old.read("model.yaml").replace(b"version: '1'", b"version: '9'")
    _remake(**{"model.yaml": text})(file)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-30])


@pytest.mark.parametrize(
    ("tamper", "told_of"),
    [
        (_flip(0.1), "pump-1.eab"),
        (_flip(0.5), "pump-1.eab"),
        (_flip(0.7), "pump-1.eab"),
        (_cut, "pump-1.eab"),
        (_remake(**{"model.onnx": onnx_of(9.0)}), "does not have the checksum in model.yaml"),
        (_other_manifest, "the signature is not of this model.yaml"),
        (_remake(**{"model.sig": b"{}"}), "not a signature"),
        (_remake(**{"evil.py": b"import os"}), "'evil.py' does not belong into a bundle"),
        (_remake(**{"../../evil": b"x"}), "does not belong into a bundle"),
    ],
)
def test_a_tampered_archive_changes_nothing_on_disk(
    tamper: Any, told_of: str, desk: Desk, told: Any
) -> None:
    """Not one file of the gateway, and one readable line."""
    desk.run("install", desk.made("2"), "--activate")
    file = desk.made("1")
    tamper(file)
    before = tree(desk.models.parent)
    told()
    assert desk.run("install", file, "--activate") == 1
    out, err = told()
    assert out == ""
    assert told_of in err
    assert len(err.splitlines()) == 1
    assert "/tmp/edge-agent" not in err  # noqa: S108
    assert tree(desk.models.parent) == before


def _link(folder: Path) -> None:
    (folder / "model.onnx").rename(folder.parent / "elsewhere.onnx")
    (folder / "model.onnx").symlink_to("../elsewhere.onnx")


def _extra(folder: Path) -> None:
    (folder / "run.sh").write_text("#!/bin/sh")


def _linked_signature(folder: Path) -> None:
    (folder / "model.sig").rename(folder.parent / "elsewhere.sig")
    (folder / "model.sig").symlink_to("../elsewhere.sig")


@pytest.mark.parametrize(
    ("spoil", "told_of"),
    [
        (_link, "model.onnx: cannot be read"),
        (_extra, "'run.sh' does not belong into a bundle"),
        (_linked_signature, "model.sig: cannot be read"),
    ],
)
def test_a_folder_is_trusted_no_more_than_an_archive(
    spoil: Any, told_of: str, desk: Desk, told: Any
) -> None:
    folder = write(desk.root, "1")
    run("sign", folder, "--key", desk.key)
    spoil(folder)
    told()
    assert desk.run("install", folder) == 1
    assert told_of in told().err
    assert not desk.models.exists()


def test_a_gateway_without_models_gets_no_folder_of_a_refused_one(desk: Desk) -> None:
    file = desk.made("1")
    _cut(file)
    assert desk.run("install", file) == 1
    assert not desk.models.exists()


def test_an_unsigned_bundle_must_be_allowed_by_name(desk: Desk, told: Any) -> None:
    file = desk.made("1", signed=False)
    told()
    assert desk.run("install", file) == 1
    err = told().err
    assert "it is not signed (sign it with a key of trust.keys, or give --allow-unsigned" in err
    assert desk.run("install", file, "--allow-unsigned", "p*") == 1
    told()
    assert desk.run("install", file, "--allow-unsigned", "pump") == 0
    assert "until trust.allow_unsigned names pump" in told().err


def test_without_any_key_unsigned_needs_a_name_too(desk: Desk) -> None:
    """The daemon would load it from its folder; what comes from elsewhere is another matter."""
    file = desk.made("1", signed=False)
    where = ("--models-dir", desk.models, "--url", NOWHERE)
    assert run("install", file, *where) == 1
    assert run("install", file, *where, "--allow-unsigned", "pump") == 0


def test_a_name_of_this_boxs_own_making_is_no_way_in(desk: Desk, told: Any) -> None:
    """`learned-*` needs no signature where it was learned, and only there."""
    file = desk.made("1", signed=False, name="learned-pump")
    told()
    assert desk.run("install", file) == 1
    assert "it is not signed" in told().err


def test_the_key_of_somebody_else_is_no_key(desk: Desk, told: Any) -> None:
    run("keygen", desk.root / "evil")
    file = desk.made("1", signed=False)
    run("sign", file, "--key", desk.root / "evil.key")
    told()
    assert desk.run("install", file) == 1
    assert "which is not trusted" in told().err


def test_the_same_version_with_another_content_is_refused(desk: Desk, told: Any) -> None:
    desk.run("install", desk.made("1"))
    folder = desk.root / "made-1" / "pump"
    golden = ({"x": X}, {"score": 5 * X.mean(axis=(1, 2))})
    write_bundle(folder, manifest("1"), onnx_of(5.0), golden)
    run("sign", folder, "--key", desk.key)
    told()
    assert desk.run("install", folder) == 1
    assert "this version is there already, with another content" in told().err


def test_what_fails_its_trial_does_not_get_onto_the_shelf(desk: Desk, told: Any) -> None:
    """Signed by the right key: still it must give its golden vectors."""
    golden = ({"x": X}, {"score": np.zeros(4, np.float32)})
    write_bundle(desk.root / "pump", manifest("1"), onnx_of(1.0), golden)
    run("sign", desk.root / "pump", "--key", desk.key)
    told()
    assert desk.run("install", desk.root / "pump") == 1
    assert "golden vectors are not reproduced" in told().err
    assert not desk.models.exists()


@pytest.mark.parametrize("words", [("activate", "nosuch"), ("shadow", "nosuch@1")])
def test_for_a_model_that_is_not_there_those_are_named_that_are(
    words: tuple[str, ...], desk: Desk, told: Any
) -> None:
    told()
    assert desk.run(*words) == 1
    assert told().err == "model nosuch: no such model (there: none)\n"
    desk.run("install", desk.made("1"), "--activate")
    desk.run("install", desk.made("2", name="fan"))
    told()
    assert desk.run(*words) == 1
    assert told().err == "model nosuch: no such model (there: fan, pump)\n"
    assert desk.run("activate", "pump") == 1
    assert told().err == "model pump: no other version is on the shelf\n"


def test_what_was_changed_on_the_shelf_is_not_activated(desk: Desk, told: Any) -> None:
    desk.run("install", desk.made("1"))
    desk.run("install", desk.made("2"))
    desk.run("activate", "pump@1")
    model = desk.models / ".shelf" / "pump" / "2" / "model.onnx"
    model.write_bytes(onnx_of(9.0))
    told()
    assert desk.run("activate", "pump@2") == 1
    assert "checksum" in told().err
    assert load_manifest(desk.models / "pump").version == "1"


# -- wrong use --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("install", "gone.eab"), 1),
        (("install",), 2),
        (("activate", "../pump"), 2),
        (("activate", "pump@../x"), 2),
        (("activate", "pump"), 1),
        (("rollback", "../pump"), 2),
        (("shadow", "pump@"), 2),
        (("verify", "gone"), 1),
    ],
)
def test_a_wrong_word_is_one_line_and_its_code(
    words: tuple[str, ...], code: int, desk: Desk, told: Any
) -> None:
    assert desk.run(*words) == code
    assert "Traceback" not in told().err


def test_keys_are_never_overwritten(desk: Desk, told: Any) -> None:
    before = desk.key.read_bytes()
    assert run("keygen", desk.root / "plant") == 2
    assert "is there already" in told().err
    assert desk.key.read_bytes() == before
    assert desk.key.stat().st_mode & 0o777 == 0o600


def test_a_config_that_trusts_no_key_is_wrong(desk: Desk, told: Any) -> None:
    desk.config.write_text(desk.config.read_text().replace("plant.pub", "plant.key"))
    assert desk.run("list") in {2, 78}
    desk.models.mkdir()
    told()
    assert desk.run("list") == 78
    assert "is no Ed25519 public key in PEM" in told().err


@pytest.mark.parametrize(
    "words",
    [
        ("pack", "gone.onnx"),
        ("pack", "gone.onnx", "--manifest", "gone.yaml"),
        ("sign", "gone", "--key", "gone.key"),
    ],
)
def test_what_is_not_there_is_said(words: tuple[str, ...], told: Any) -> None:
    assert run(*words) == 1
    assert "No such file" in told().err


def test_a_folder_is_packed_as_it_is(desk: Desk, told: Any) -> None:
    folder = write(desk.root, "1")
    assert run("pack", folder, "--variant", "int8=x.onnx") == 2
    assert run("pack", folder, "--variant", "int8") == 2
    assert "NAME=ONNX" in told().err


@pytest.mark.parametrize("raw", [b"", b"no zip", b"PK\x03\x04"])
def test_golden_inputs_that_are_none_are_refused(raw: bytes, desk: Desk, told: Any) -> None:
    (desk.root / "pump.onnx").write_bytes(onnx_of(1.0))
    write(desk.root, "1")
    (desk.root / "in.npz").write_bytes(raw)
    words = ("pack", desk.root / "pump.onnx", "--manifest", desk.root / "pump" / "model.yaml")
    assert run(*words, "--golden", desk.root / "in.npz") == 1
    assert "no NPZ of golden inputs" in told().err


@pytest.mark.parametrize(
    "verb",
    ["list", "verify", "pack", "sign", "keygen", "install", "activate", "rollback", "shadow"],
)
def test_every_verb_has_an_example(verb: str, told: Any) -> None:
    assert run(verb, "--help") == 0
    assert f"example:\n  edge-agent models {verb}" in told().out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_what_root_installs_belongs_to_the_daemons_user(desk: Desk) -> None:
    """Else the daemon could not roll it back."""
    desk.models.mkdir()
    os.chown(desk.models, 65534, 65534)
    desk.run("install", desk.made("1"), "--activate")
    assert {path.stat().st_uid for path in desk.models.rglob("*")} == {65534}


# -- the running daemon -----------------------------------------------------------------------

WISH = wait.Wish("pump", "2", "active", 1000.0)


def row(**changes: object) -> dict[str, Any]:
    return {"name": "pump", "version": "1", "mode": "active", "state": "active"} | changes


@pytest.mark.parametrize(
    ("rows", "state", "failed"),
    [
        ([row(version="2")], "active", False),
        ([row()], "pending", True),
        ([], "pending", True),
        ([row(name="other", version="2")], "pending", True),
        ([row(state="warming", next="2")], "warming", False),
        ([row(version="2", state="failing", reason="NaN")], "refused", True),
        ([row(refused_version="2", refused_ms=2000, refused="slow")], "refused", True),
        ([row(refused_version="2", refused_ms=999, refused="slow")], "pending", True),
        ([row(refused_version="3", refused_ms=2000, refused="slow")], "pending", True),
        ([row(version="2", mode="shadow", state="running")], "pending", True),
    ],
)
def test_what_the_daemon_says_is_understood(
    rows: list[dict[str, Any]], state: str, *, failed: bool
) -> None:
    """Also that a refusal from before the command is no answer to it."""
    found = wait.judged(rows, WISH)
    assert (found.state, found.failed) == (state, failed)


@pytest.mark.parametrize(
    ("rows", "state", "failed"),
    [
        ([row(version="2", mode="shadow", state="running")], "running", False),
        ([row(version="2", mode="shadow", state="dropped", reason="slow")], "refused", True),
        ([row(version="2")], "pending", True),
    ],
)
def test_a_shadow_is_understood(rows: list[dict[str, Any]], state: str, *, failed: bool) -> None:
    found = wait.judged(rows, WISH._replace(mode="shadow"))
    assert (found.state, found.failed) == (state, failed)


class Answers:
    """One answer after the other; an error is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def __call__(self) -> Any:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time goes on by itself: each look at the clock is a second later."""
    seconds = iter(range(10_000))
    monkeypatch.setattr(wait, "_monotonic", lambda: float(next(seconds)))
    monkeypatch.setattr(wait, "_sleep", lambda _: None)


def awaited(*answers: Any, wait_s: float = 10) -> wait.Outcome:
    return wait.awaited(Answers(*answers), WISH, wait_s, NOWHERE)


def test_it_waits_until_the_version_is_at_work() -> None:
    found = awaited([row()], [row(state="warming", next="2")], [row(version="2")])
    assert found.state == "active"


def test_a_daemon_that_restarts_meanwhile_is_waited_for() -> None:
    found = awaited([row()], ConnectError("gone"), [row(version="2")])
    assert found.state == "active"


def test_a_daemon_that_is_not_there_is_not_waited_for() -> None:
    found = awaited(ConnectError("gone"))
    assert (found.state, found.failed) == ("on disk", False)


def test_the_wait_ends() -> None:
    assert awaited([row()]) == wait.Outcome("pending", "", failed=True)
    assert awaited([row(state="warming", next="2")]).state == "warming"


@pytest.mark.parametrize("rows", [[1], {"a": 1}, [{}], None, ["x"]])
def test_who_is_not_edge_agent_is_recognised(rows: Any) -> None:
    with pytest.raises(EdgeAgentError, match="is not edge-agent"):
        awaited(rows)


@pytest.mark.parametrize(
    ("http", "url"),
    [
        ("{}", "http://127.0.0.1:9460"),
        ("{host: 0.0.0.0, port: 8000, token: {env: T}}", "http://127.0.0.1:8000"),
        ("{host: '::1'}", "http://[::1]:9460"),
        ("{enabled: false}", None),
    ],
)
def test_the_daemon_is_asked_where_its_config_says(http: str, url: str | None, desk: Desk) -> None:
    from edge_agent.daemon.tables import load_config  # noqa: PLC0415

    desk.config.write_text(desk.config.read_text().replace("{port: 9}", http))
    assert api_client.url_of(load_config(desk.config, files=False)) == url


def test_copies_of_what_is_installed_go_away(desk: Desk, tmp_path: Path) -> None:
    """A refused bundle leaves nothing in the folder for temporary files."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(scratch))
        desk.run("install", desk.made("1"))
        file = desk.made("2")
        _cut(file)
        desk.run("install", file)
    assert list(scratch.iterdir()) == []
    shutil.rmtree(scratch)
