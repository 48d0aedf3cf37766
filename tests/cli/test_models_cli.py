"""`edge-agent models` on the disk: from a file on a desk to the active version, and back."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from onnx import helper
from tiny_models import (
    golden_x,
    manifest,
    mean_node,
    model,
    scaled_model,
    write_bundle_of,
    write_mean_bundle,
)

from edge_agent.cli import main
from edge_agent.cli.models import look, make, report, repository
from edge_agent.models import ModelRepository, load_manifest, pack, sign_bundle, write_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOWHERE = "http://127.0.0.1:9"  # nobody listens on the discard port
CONFIG = """\
models_dir: models
trust: {keys: [../desk/plant.pub]}
http: {port: 9}
sources: {plant: {type: replay, path: gone.csv}}
templates: {pump: {signals: {flow: {}, pressure: {}}, models: [{bundle: gone}]}}
assets: {P-1: {template: pump}}
"""
MANIFEST = """\
name: theirs
version: "7"
task: anomaly
inputs: [{name: flow}, {name: pressure}]
outputs: {score: score}
window: {length: 8}
threshold: 2
"""

OTHER = 65534  # nobody


def run(*words: object) -> int:
    return main(["models", *map(str, words)])


class Desk(NamedTuple):
    """A gateway's folder and config (its daemon does not run), and the maker's key."""

    root: Path
    models: Path
    config: Path
    key: Path

    def folder(self, version: str, *, signed: bool = True, name: str = "pump") -> Path:
        """A bundle of that version, which has not been tried."""
        folder = self.root / f"made-{version}" / name
        write_mean_bundle(folder, float(version), version=version)
        if signed:
            sign_bundle(folder, self.key)
        return folder

    def archive(self, version: str, *, signed: bool = True, name: str = "pump") -> Path:
        return pack(self.folder(version, signed=signed, name=name), self.root)

    def with_versions(self, *versions: str) -> ModelRepository:
        """The gateway has them, none of them active."""
        there = ModelRepository(self.models)
        for version in versions:
            there.install(self.folder(version))
        return there

    def run(self, *words: object) -> int:
        """A verb for this gateway."""
        return run(*words, "-c", self.config)

    def run_in(self, models: Path, *words: object) -> int:
        """A verb for another folder of models, without a config or a daemon."""
        options = ("--models-dir", models, "--url", NOWHERE, "--allow-unsigned", "pump")
        return run(*words, *options)


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    root, config = tmp_path / "desk", tmp_path / "gateway" / "edge-agent.yaml"
    root.mkdir()
    config.parent.mkdir()
    config.write_text(CONFIG)
    run("keygen", root / "plant")
    capsys.readouterr()
    return Desk(root, config.parent / "models", config, root / "plant.key")


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    """Call it for what was printed since: out and err."""
    return capsys.readouterr


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


# -- list, verify, inspect --------------------------------------------------------------------


def test_list_is_a_table_or_json_and_names_what_cannot_be_read(
    tmp_path: Path, printed: Any
) -> None:
    where = ("--models-dir", tmp_path)
    assert run("list", *where) == 0
    assert "no bundles" in printed().out
    write_mean_bundle(tmp_path / "line-1", units=("P-1", "P-2"), false_alarms_per_day=0.1)
    write_mean_bundle(tmp_path / "line-2")
    assert run("list", *where) == 0
    head, first, second = (line.split() for line in printed().out.splitlines())
    columns = "NAME VERSION STATE TASK INPUTS ASSETS THRESHOLD FALSE_ALARMS_PER_DAY"
    assert head == [*columns.split(), "WINDOW", "VARIANTS", "SIGNER"]
    assert " ".join(first) == "line-1 1 active anomaly 2 2 2 0.1 8 x 1 s fp32 unsigned"
    assert " ".join(second) == "line-2 1 active anomaly 2 any 2 - 8 x 1 s fp32 unsigned"
    assert run("list", *where, "--json") == 0
    rows = json.loads(printed().out)["bundles"]
    assert [(row["name"], row["assets"]) for row in rows] == [
        ("line-1", ["P-1", "P-2"]),
        ("line-2", []),
    ]
    (tmp_path / "line-2" / "model.yaml").write_text("name: line-2\ntaks: anomaly\n")
    assert run("list", *where) == 1
    out, err = printed()
    assert "line-1" in out
    assert "unknown key 'taks'" in err


def test_list_shows_what_each_version_is_there_for(desk: Desk, printed: Any) -> None:
    there = desk.with_versions("1", "2", "3", "4")
    there.activate("pump", "1")
    there.activate("pump", "2")
    there.set_shadow("pump", "3")
    assert desk.run("list", "--json") == 0
    rows = json.loads(printed().out)["bundles"]
    assert [(row["version"], row["state"]) for row in rows] == [
        ("2", "active"),
        ("4", "shelf"),
        ("3", "shadow"),
        ("1", "previous"),
    ]
    assert {len(row["signer"]) for row in rows} == {16}


def test_verify_finds_a_bundle_by_name_version_folder_and_file(desk: Desk, printed: Any) -> None:
    """Several in one go: what is refused, or is not there, stops none of the others."""
    desk.with_versions("1").activate("pump", "1")
    file = desk.archive("2")
    assert desk.run("verify", "pump", "pump@1", desk.models / "pump", file) == 0
    out = printed().out.splitlines()
    assert [line.split(":")[0] for line in out if ": ok (" in line] == ["pump 1"] * 3 + ["pump 2"]
    (desk.root / "made-1" / "pump" / "model.onnx").write_bytes(b"other")
    assert desk.run("verify", desk.root / "made-1" / "pump", "gone", file) == 1
    out, err = printed()
    assert out.startswith("pump 2: ok")
    assert "checksum" in err
    assert "gone" in err
    assert run("verify", "pump", "--models-dir", desk.models) == 0


def _spoilt(desk: Desk) -> Path:
    folder = desk.folder("1")
    (folder / "model.onnx").write_bytes(b"other")
    return folder


def _edited(desk: Desk) -> Path:
    """Its manifest was changed after it was signed."""
    folder = desk.folder("1")
    text = (folder / "model.yaml").read_text()
    (folder / "model.yaml").write_text(text.replace("version: '1'", "version: '7'"))
    return folder


def _of_a_stranger(desk: Desk) -> Path:
    run("keygen", desk.root / "evil")
    folder = desk.folder("1", signed=False)
    sign_bundle(folder, desk.root / "evil.key")
    return folder


@pytest.mark.parametrize(
    ("made", "signer", "why", "code_without_keys"),
    [
        (_spoilt, "", "does not have the checksum", 1),
        (_edited, "broken", "the signature is not of this model.yaml", 0),
        (_of_a_stranger, "not trusted", "which is not trusted", 0),
        (lambda desk: desk.archive("1", signed=False), "unsigned", "pump-1.eab: it is not", 0),
    ],
)
def test_verify_refuses_what_the_daemon_refuses(
    made: Any, signer: str, why: str, code_without_keys: int, *, desk: Desk, printed: Any
) -> None:
    """With keys in the config a signature counts as any other check; without a config none does."""
    bundle = made(desk)
    printed()
    assert desk.run("verify", bundle) == 1
    out, err = printed()
    assert out == ""
    assert why in err
    assert len(err.splitlines()) == 1
    assert desk.run("verify", bundle, "--json") == 1
    row = json.loads(printed().out)
    assert (row["ok"], row["signer"], len(row["problems"])) == (False, signer, 1)
    assert run("verify", bundle) == code_without_keys


def test_verify_takes_what_is_allowed_by_name(desk: Desk, printed: Any) -> None:
    allowed = CONFIG.replace("plant.pub]", "plant.pub], allow_unsigned: [pump]")
    desk.config.write_text(allowed)
    assert desk.run("verify", desk.folder("1", signed=False)) == 0
    assert "signer: unsigned" in printed().out


def test_inspect_shows_what_to_write_into_the_manifest(theirs: Path, printed: Any) -> None:
    assert run("inspect", theirs) == 0
    out = printed().out
    assert "input   x float32 [N, 8, 2]" in out
    assert "output  score float32 [N]" in out
    assert run("inspect", theirs, "--json") == 0
    assert json.loads(printed().out)["operators"] == {"Mul": True, "ReduceMean": True}
    assert run("inspect", "--operators") == 0
    names = printed().out.split()
    assert {"Conv", "ai.onnx.ml:TreeEnsembleRegressor"} <= {*names}
    assert "Loop" not in names


# -- pack, sign -------------------------------------------------------------------------------


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Somebody's ONNX with its manifest beside it."""
    (tmp_path / "model.onnx").write_bytes(scaled_model(1.0))
    (tmp_path / "model.yaml").write_text(MANIFEST)
    return tmp_path / "model.onnx"


def test_an_onnx_becomes_a_bundle(theirs: Path, desk: Desk, printed: Any) -> None:
    """With its own golden inputs, and a variant."""
    (desk.root / "small.onnx").write_bytes(scaled_model(1.001))
    np.savez(desk.root / "in.npz", x=golden_x(4), anomalous=np.array([0, 0, 1, 1]))
    words = ("pack", theirs, "--golden", desk.root / "in.npz", "-o", desk.root)
    assert run(*words, "--variant", f"int8={desk.root / 'small.onnx'}", "--key", desk.key) == 0
    printed()
    assert desk.run("verify", desk.root / "theirs-7.eab", "--json") == 0
    found = json.loads(printed().out)
    assert [row["variant"] for row in found["variants"]["figures"]] == ["fp32", "int8"]
    assert len(found["signer"]) == 16


def test_a_version_is_packed_once(theirs: Path, printed: Any) -> None:
    """The same again is the same file; something else under its name is refused, unless forced."""
    words, archive = ("pack", theirs, "-o", theirs.parent), theirs.parent / "theirs-7.eab"
    assert run(*words) == 0
    before = archive.read_bytes()
    assert run(*words) == 0
    assert archive.read_bytes() == before
    theirs.with_name("model.yaml").write_text(MANIFEST.replace("threshold: 2", "threshold: 3"))
    assert run(*words) == 2
    assert "another bundle of this version exists" in printed().err
    assert archive.read_bytes() == before
    assert run(*words, "--force") == 0
    assert archive.read_bytes() != before


def test_what_verify_would_refuse_is_not_packed(theirs: Path, printed: Any) -> None:
    """Nothing is written, so that nobody ships it."""
    nodes = [mean_node("x", "mean"), helper.make_node("RandomUniformLike", ["mean"], ["score"])]
    theirs.write_bytes(model(nodes).SerializeToString())
    assert run("pack", theirs, "-o", theirs.parent) == 1
    err = printed().err
    assert "operator RandomUniformLike is not allowed" in err
    assert "models inspect" in err
    assert not list(theirs.parent.glob("*.eab"))


def test_packing_signs_the_archive_and_leaves_the_folder_as_it_is(desk: Desk, printed: Any) -> None:
    folder = desk.folder("1", signed=False)
    before = tree(folder)
    assert run("pack", folder, "-o", desk.root / "plain.eab") == 0
    assert printed().out.endswith("not signed\n")
    assert run("pack", folder, "-o", desk.root, "--key", desk.key) == 0
    assert ", signed with key " in printed().out
    assert tree(folder) == before
    assert desk.run("install", desk.root / "pump-1.eab") == 0
    (folder / "model.onnx").write_bytes(scaled_model(9.0))
    assert run("pack", folder, "-o", desk.root, "--key", desk.key) == 1
    assert f"{folder}/model.onnx" in printed().err


def test_an_archive_and_a_folder_can_be_signed(desk: Desk, printed: Any) -> None:
    file = desk.archive("1", signed=False)
    assert run("sign", desk.root / "made-1" / "pump", "--key", desk.key) == 0
    assert run("sign", file, "--key", desk.key) == 0
    key = printed().out.split()[-1]
    with zipfile.ZipFile(file) as archive:
        assert json.loads(archive.read("model.sig"))["key_id"] == key
    assert desk.run("verify", file, desk.root / "made-1" / "pump") == 0


def test_keys_are_never_overwritten(desk: Desk, printed: Any) -> None:
    before = desk.key.read_bytes()
    assert run("keygen", desk.root / "plant") == 2
    assert "already exists" in printed().err
    assert desk.key.read_bytes() == before
    assert desk.key.stat().st_mode & 0o777 == 0o600


# -- install, activate, roll back, shadow -----------------------------------------------------


def test_from_the_desk_to_the_active_version_and_back(desk: Desk, printed: Any) -> None:
    """A folder and a file; no daemon answers, so that all of it is done on the disk."""
    assert desk.run("install", desk.folder("1")) == 0
    assert "pump 1: installed (signed by " in printed().out
    assert not (desk.models / "pump").exists()
    assert desk.run("activate", "pump") == 0
    assert f"pump 1: chosen: no daemon answers at {NOWHERE}" in printed().out
    assert desk.run("install", desk.archive("2"), "--activate", "--json") == 0
    row = json.loads(printed().out)
    assert (row["name"], row["version"], row["variant"]) == ("pump", "2", "fp32")
    assert (row["state"], len(row["signer"])) == ("on disk", 16)
    assert load_manifest(desk.models / "pump").version == "2"
    assert desk.run("rollback", "pump") == 0
    assert load_manifest(desk.models / "pump").version == "1"
    printed()
    assert desk.run("rollback", "pump") == 1
    assert printed().err == "model pump: no earlier version is installed\n"


def test_a_shadow_begins_and_ends(desk: Desk, printed: Any) -> None:
    there = desk.with_versions("1")
    assert desk.run("shadow", "pump@1") == 0
    assert there.shadow("pump") == "1"
    assert desk.run("shadow", "pump", "--off") == 0
    assert there.shadow("pump") is None
    assert desk.run("shadow", "pump@9") == 1
    assert "pump@9: no such version (there: 1)" in printed().err


def test_an_unsigned_bundle_must_be_allowed_by_name(desk: Desk, printed: Any) -> None:
    """No pattern, and also where the daemon would load it from its folder: without any key."""
    file = desk.archive("1", signed=False)
    assert desk.run("install", file) == 1
    assert "(sign it with a key of trust.keys, or use --allow-unsigned" in printed().err
    assert desk.run("install", file, "--allow-unsigned", "p*") == 1
    without_keys = ("install", file, "--models-dir", desk.models, "--url", NOWHERE)
    assert run(*without_keys) == 1
    assert not desk.models.exists()
    printed()
    assert desk.run("install", file, "--allow-unsigned", "pump") == 0
    assert "until trust.allow_unsigned contains pump" in printed().err
    assert run(*without_keys, "--allow-unsigned", "pump") == 0


@pytest.fixture
def their_models() -> Iterator[Path]:
    """The daemon's folder of models: of another user, who can reach it (unlike `tmp_path`)."""
    if os.geteuid() != 0:
        pytest.skip("only root may give files away")
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        models = Path(place) / "models"
        models.mkdir()
        os.chown(models, OTHER, OTHER)
        yield models


def test_what_root_installs_belongs_to_the_daemons_user(desk: Desk, their_models: Path) -> None:
    """Else the daemon could not roll it back."""
    assert desk.run_in(their_models, "install", desk.archive("1"), "--activate") == 0
    assert {path.stat().st_uid for path in their_models.rglob("*")} == {OTHER}
    assert os.geteuid() == 0


@pytest.mark.parametrize("link", [".shelf", ".shelf/pump"])
def test_root_follows_no_link_of_the_daemons_user(
    desk: Desk, printed: Any, their_models: Path, link: str
) -> None:
    """It acts as the owner of the folder, who may not write where the link leads."""
    elsewhere = their_models.parent / "etc"
    elsewhere.mkdir()
    path = their_models / link
    path.parent.mkdir(exist_ok=True)
    os.chown(path.parent, OTHER, OTHER)
    path.symlink_to(elsewhere)
    assert desk.run_in(their_models, "install", desk.archive("1"), "--activate") == 1
    assert "Permission denied" in printed().err
    assert list(elsewhere.iterdir()) == []
    assert os.geteuid() == 0


# -- what is refused changes nothing ----------------------------------------------------------


def _cut(desk: Desk) -> Path:
    file = desk.archive("1")
    file.write_bytes(file.read_bytes()[:-30])
    return file


def _archive_with(name: str, raw: bytes) -> Callable[[Desk], Path]:
    """Signed, and then one member was put in or replaced."""

    def made(desk: Desk) -> Path:
        file = desk.archive("1")
        with zipfile.ZipFile(file) as old:
            contents = {member: old.read(member) for member in old.namelist()} | {name: raw}
        with zipfile.ZipFile(file, "w") as new:
            for member, content in contents.items():
                new.writestr(member, content)
        return file

    return made


def _linked(desk: Desk) -> Path:
    folder = desk.folder("1")
    (folder / "model.onnx").rename(folder.parent / "elsewhere.onnx")
    (folder / "model.onnx").symlink_to("../elsewhere.onnx")
    return folder


def _with_a_program(desk: Desk) -> Path:
    folder = desk.folder("1")
    (folder / "run.sh").write_text("#!/bin/sh")
    return folder


def _other_golden_vectors(desk: Desk) -> Path:
    """Signed by the right key, and yet it does not give what it says."""
    folder = desk.root / "pump"
    write_bundle_of(folder, scaled_model(2.0))
    sign_bundle(folder, desk.key)
    return folder


def _version_2_again(desk: Desk) -> Path:
    """With another content than the one that is active."""
    folder, x = desk.root / "again" / "pump", golden_x()
    golden = ({"x": x}, {"score": 5 * x.mean(axis=(1, 2))})
    write_bundle(folder, manifest(name="pump", version="2"), scaled_model(5.0), golden)
    sign_bundle(folder, desk.key)
    return folder


def _learned_elsewhere(desk: Desk) -> Path:
    """`learned-*` needs no signature where it was learned, and only there."""
    return desk.archive("1", signed=False, name="learned-pump")


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (_cut, "pump-1.eab"),
        (_archive_with("model.onnx", b"other"), "does not have the checksum in model.yaml"),
        (_archive_with("evil.py", b"import os"), "'evil.py' does not belong in a bundle"),
        (_archive_with("model.sig", b"{}"), "not a signature"),
        (_edited, "the signature is not of this model.yaml"),
        (_linked, "model.onnx: cannot be read"),
        (_with_a_program, "'run.sh' does not belong in a bundle"),
        (_of_a_stranger, "which is not trusted"),
        (_learned_elsewhere, "it is not signed"),
        (_other_golden_vectors, "golden vectors are not reproduced"),
        (_version_2_again, "this version exists already, with other content"),
        (lambda desk: desk.root / "gone.eab", "gone.eab"),
    ],
)
def test_what_is_refused_changes_nothing_on_disk(
    made: Callable[[Desk], Path], why: str, desk: Desk, scratch: Path, printed: Any
) -> None:
    """Not one file of the gateway nor a copy somewhere else, and one readable line."""
    desk.with_versions("2").activate("pump", "2")
    source = made(desk)
    before = tree(desk.models.parent)
    printed()
    assert desk.run("install", source, "--activate") == 1
    out, err = printed()
    assert out == ""
    assert why in err
    assert len(err.splitlines()) == 1
    assert str(scratch) not in err, "nobody knows the name of our copy"
    assert tree(desk.models.parent) == before
    assert list(scratch.iterdir()) == []


def test_what_was_changed_on_the_shelf_is_not_activated(desk: Desk, printed: Any) -> None:
    there = desk.with_versions("1", "2")
    there.activate("pump", "1")
    (there.folder("pump", "2") / "model.onnx").write_bytes(scaled_model(9.0))
    assert desk.run("activate", "pump@2") == 1
    assert "checksum" in printed().err
    assert load_manifest(desk.models / "pump").version == "1"


@pytest.mark.parametrize("words", [("activate", "nosuch"), ("shadow", "nosuch@1")])
def test_for_a_model_that_is_not_there_those_are_named_that_are(
    words: tuple[str, ...], desk: Desk, printed: Any
) -> None:
    assert desk.run(*words) == 1
    assert printed().err == "model nosuch: no such model (installed: none)\n"
    there = desk.with_versions("1")
    there.activate("pump", "1")
    there.install(desk.folder("2", name="fan"))
    assert desk.run(*words) == 1
    assert printed().err == "model nosuch: no such model (installed: fan, pump)\n"
    assert desk.run("activate", "pump") == 1
    assert printed().err == "model pump: no other version is installed\n"


# -- wrong use --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("", 2, "usage:"),
        ("verify", 2, "usage:"),
        ("install -c CONFIG", 2, "usage:"),
        ("list -c x --models-dir y", 2, "usage:"),
        ("inspect", 2, "nothing to inspect"),
        ("list --models-dir gone", 2, "no such folder"),
        ("verify gone -c CONFIG", 1, "gone"),
        ("activate ../pump -c CONFIG", 2, "../pump"),
        ("activate pump@../x -c CONFIG", 2, "pump@../x"),
        ("rollback ../pump -c CONFIG", 2, "../pump"),
        ("shadow pump@ -c CONFIG", 2, "pump@"),
        ("pack gone.onnx", 1, "No such file"),
        ("pack gone.onnx --manifest gone.yaml", 1, "No such file"),
        ("sign gone --key gone.key", 1, "No such file"),
        ("pack FOLDER --variant int8=x.onnx", 2, "a folder is packed as it is"),
        ("pack FOLDER --variant int8", 2, "NAME=ONNX"),
        ("pack ONNX --golden CONFIG", 1, "no NPZ of golden inputs"),
    ],
)
def test_a_wrong_word_is_said_and_has_its_code(
    words: str, code: int, says: str, *, desk: Desk, theirs: Path, printed: Any
) -> None:
    places = {"CONFIG": desk.config, "FOLDER": desk.folder("1"), "ONNX": theirs}
    assert run(*(places.get(word, word) for word in words.split())) == code
    err = printed().err
    assert says in err
    assert "Traceback" not in err


def test_a_config_that_trusts_no_key_is_wrong(desk: Desk, printed: Any) -> None:
    desk.config.write_text(CONFIG.replace("plant.pub", "plant.key"))
    desk.models.mkdir()
    assert desk.run("list") == 78
    assert "is not an Ed25519 public key in PEM" in printed().err


def test_every_verb_has_an_example(printed: Any) -> None:
    verbs = [verb for group in (look, make, repository, report) for verb in group.VERBS]
    for verb in verbs:
        assert run(verb, "--help") == 0
        assert f"example:\n  edge-agent models {verb}" in printed().out
    assert run("--help") == 0
    out = printed().out
    assert "example:" in out
    assert all(f"  {verb}" in out for verb in verbs)
