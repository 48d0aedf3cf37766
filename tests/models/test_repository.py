"""The shelf keeps versions whole and immutable, and knows what was at work before."""

from __future__ import annotations

import fcntl
import json
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import write_mean_bundle

from edge_agent.errors import ModelError, NotFoundError, UsageError
from edge_agent.models.bundle import folder as folder_module
from edge_agent.models.bundle.bundle import load_manifest, verify_bundle
from edge_agent.models.repository import ModelRepository, parse_ref
from edge_agent.models.repository_state import RepositoryState, parse_state

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def shelf(models: Path) -> ModelRepository:
    return ModelRepository(models)


def made(tmp_path: Path, version: str, factor: float = 1.0) -> Path:
    """A bundle `mean` of some version, somewhere else."""
    folder = tmp_path / f"made-{version}-{factor}" / "mean"
    write_mean_bundle(folder, factor, version=version)
    return folder


def with_versions(shelf: ModelRepository, tmp_path: Path, *versions: str) -> None:
    for number, version in enumerate(versions):
        shelf.install(made(tmp_path, version, number + 1.0))


def test_what_is_installed_is_whole_and_not_at_work(
    shelf: ModelRepository, tmp_path: Path, models: Path
) -> None:
    installed = shelf.install(made(tmp_path, "1"))
    assert installed.version == "1"
    assert verify_bundle(shelf.folder("mean", "1")) == []
    assert shelf.versions("mean") == ["1"]
    assert shelf.active("mean") is None
    assert not (models / "mean").exists()


def test_installing_the_same_again_changes_nothing(shelf: ModelRepository, tmp_path: Path) -> None:
    shelf.install(made(tmp_path, "1"))
    shelf.install(made(tmp_path, "1"))
    assert shelf.versions("mean") == ["1"]


def test_a_version_never_changes(shelf: ModelRepository, tmp_path: Path) -> None:
    shelf.install(made(tmp_path, "1"))
    with pytest.raises(ModelError, match="exists already, with other content"):
        shelf.install(made(tmp_path, "1", factor=2.0))
    assert verify_bundle(shelf.folder("mean", "1")) == []


def test_the_version_at_work_never_changes_either(
    shelf: ModelRepository, tmp_path: Path, models: Path
) -> None:
    write_mean_bundle(models / "mean", version="1")
    with pytest.raises(ModelError, match="exists already, with other content"):
        shelf.install(made(tmp_path, "1", factor=2.0))


def test_versions_come_in_the_order_of_their_arrival(
    shelf: ModelRepository, tmp_path: Path
) -> None:
    with_versions(shelf, tmp_path, "9", "10", "1")
    assert shelf.versions("mean") == ["9", "10", "1"]


def test_activation_keeps_what_was_at_work(
    shelf: ModelRepository, tmp_path: Path, models: Path
) -> None:
    """Also where it never came by the shelf."""
    write_mean_bundle(models / "mean", factor=7.0, version="0")
    with_versions(shelf, tmp_path, "1")
    shelf.activate("mean", "1")
    assert shelf.active("mean") == "1"
    assert shelf.previous("mean") == "0"
    assert verify_bundle(models / "mean") == []
    assert verify_bundle(shelf.folder("mean", "0")) == []


def test_rollback_puts_the_last_one_back_and_never_leads_forward(
    shelf: ModelRepository, tmp_path: Path
) -> None:
    with_versions(shelf, tmp_path, "1", "2", "3")
    for version in ("1", "2", "3"):
        shelf.activate("mean", version)
    assert shelf.rollback("mean") == "2"
    assert shelf.active("mean") == "2"
    assert shelf.rollback("mean") == "1"
    assert shelf.previous("mean") is None
    with pytest.raises(ModelError, match="no earlier version"):
        shelf.rollback("mean")
    assert shelf.versions("mean") == ["1", "2", "3"]


def test_a_version_written_over_the_one_at_work_can_be_rolled_back(
    shelf: ModelRepository, models: Path
) -> None:
    """As learning again does it: keep, then write."""
    write_mean_bundle(models / "mean", version="1")
    assert shelf.store_active("mean") == "1"
    write_mean_bundle(models / "mean", factor=2.0, version="2")
    assert shelf.previous("mean") == "1"
    assert shelf.rollback("mean") == "1"
    assert shelf.versions("mean") == ["1", "2"]


def test_a_broken_bundle_at_work_can_be_rolled_back(
    shelf: ModelRepository, tmp_path: Path, models: Path
) -> None:
    with_versions(shelf, tmp_path, "1", "2")
    shelf.activate("mean", "1")
    shelf.activate("mean", "2")
    (models / "mean" / "model.yaml").write_text("no")
    assert shelf.active("mean") is None
    assert shelf.rollback("mean") == "1"
    assert verify_bundle(models / "mean") == []


def test_what_is_at_work_and_damaged_does_not_get_onto_the_shelf(
    shelf: ModelRepository, tmp_path: Path, models: Path
) -> None:
    """The shelf keeps the copy that was whole."""
    with_versions(shelf, tmp_path, "1", "2")
    shelf.activate("mean", "1")
    (models / "mean" / "model.onnx").write_bytes(b"damaged")
    shelf.activate("mean", "2")
    assert verify_bundle(shelf.folder("mean", "1")) == []


def test_a_crash_between_the_note_and_the_copy_costs_no_version(
    shelf: ModelRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_versions(shelf, tmp_path, "1", "2")
    shelf.activate("mean", "1")

    def power_cut(*_: object) -> None:
        raise ModelError("power cut")

    with monkeypatch.context() as broken:
        broken.setattr(shelf, "_copy", power_cut)
        with suppress(ModelError):
            shelf.activate("mean", "2")
    assert shelf.active("mean") == "1"
    assert shelf.previous("mean") is None
    shelf.activate("mean", "2")
    assert shelf.previous("mean") == "1"


def test_the_shelf_holds_few_versions_and_all_that_are_needed(models: Path, tmp_path: Path) -> None:
    shelf = ModelRepository(models, keep=3)
    with_versions(shelf, tmp_path, "1", "2", "3")
    shelf.activate("mean", "1")
    shelf.activate("mean", "2")
    shelf.set_shadow("mean", "3")
    for number in range(4, 8):
        shelf.install(made(tmp_path, str(number), number))
    assert shelf.versions("mean") == ["1", "2", "3", "7"]


def test_a_shadow_is_on_the_shelf_and_not_at_work(shelf: ModelRepository, tmp_path: Path) -> None:
    with_versions(shelf, tmp_path, "1", "2")
    shelf.activate("mean", "1")
    shelf.set_shadow("mean", "2")
    assert shelf.shadow("mean") == "2"
    with pytest.raises(NotFoundError, match="there: 1, 2"):
        shelf.set_shadow("mean", "3")
    shelf.activate("mean", "2")
    assert shelf.shadow("mean") is None


def test_what_never_was_on_the_shelf_cannot_be_a_shadow(
    shelf: ModelRepository, models: Path
) -> None:
    write_mean_bundle(models / "mean", version="1")
    with pytest.raises(ModelError, match="is active"):
        shelf.set_shadow("mean", "1")


def test_a_shadow_can_be_ended(shelf: ModelRepository, tmp_path: Path) -> None:
    with_versions(shelf, tmp_path, "1")
    shelf.set_shadow("mean", "1")
    shelf.set_shadow("mean", None)
    assert shelf.shadow("mean") is None


def test_the_folder_of_a_version_at_work_is_found(shelf: ModelRepository, models: Path) -> None:
    write_mean_bundle(models / "mean", version="1")
    assert shelf.folder("mean", "1") == models / "mean"
    assert shelf.names() == ["mean"]
    with pytest.raises(NotFoundError):
        shelf.folder("mean", "2")


def test_the_signature_travels_with_the_bundle(
    shelf: ModelRepository, tmp_path: Path, models: Path
) -> None:
    source = made(tmp_path, "1")
    (source / "model.sig").write_bytes(b"{}")
    shelf.install(source)
    shelf.activate("mean", "1")
    assert (models / "mean" / "model.sig").read_bytes() == b"{}"


def test_a_lost_state_costs_the_order_and_no_bundle(
    shelf: ModelRepository, tmp_path: Path, models: Path
) -> None:
    with_versions(shelf, tmp_path, "2", "1")
    (models / ".shelf" / "mean" / "state.json").write_bytes(b'{"versions": [')
    assert shelf.versions("mean") == ["1", "2"]
    assert load_manifest(shelf.folder("mean", "2")).version == "2"


def test_leftovers_of_a_process_that_died_go(
    shelf: ModelRepository, tmp_path: Path, models: Path
) -> None:
    with_versions(shelf, tmp_path, "1")
    left = models / ".shelf" / "mean" / ".new-abc"
    left.mkdir()
    with_versions(shelf, tmp_path, "1")
    assert not left.exists()


def test_two_who_change_the_shelf_at_once_are_kept_apart(
    shelf: ModelRepository, tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one gives up with a readable error, and works once the first is gone."""
    with_versions(shelf, tmp_path, "1")
    monkeypatch.setattr(folder_module, "LOCK_TIMEOUT_S", 0.0)
    with (models / ".shelf" / ".lock").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ModelError, match="another process is changing it"):
            shelf.activate("mean", "1")
    shelf.activate("mean", "1")


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_is_replaced_with_and_without_the_kernels_exchange(
    *, exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchange:
        monkeypatch.setattr(folder_module, "_exchange", lambda *_: False)
    for raw in (b"1", b"2"):
        folder_module.write_folder(tmp_path / "f", [("a", raw)])
    assert (tmp_path / "f" / "a").read_bytes() == b"2"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("bad", ["", "@1", "a@", "../a", "a@../b", "a b", ".shelf", "a@1@2"])
def test_a_reference_is_a_name_and_perhaps_a_version(bad: str) -> None:
    assert parse_ref("pump@1.2") == ("pump", "1.2")
    assert parse_ref("pump") == ("pump", None)
    with pytest.raises(UsageError):
        parse_ref(bad)


@pytest.mark.parametrize("bad", ["..", ".shelf", "a/b", ""])
def test_no_name_leads_out_of_the_shelf(bad: str, shelf: ModelRepository) -> None:
    with pytest.raises(UsageError):
        shelf.versions(bad)
    with pytest.raises(UsageError):
        shelf.folder("mean", bad)


@given(st.binary(max_size=100) | st.from_type(type(None)).map(lambda _: b"[" * 60_000))
def test_any_state_file_is_read(raw: bytes) -> None:
    """Whatever stands in it, it is a state."""
    import tempfile  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "state.json"
        file.write_bytes(raw)
        assert isinstance(parse_state(file), RepositoryState)


@pytest.mark.parametrize("spoilt", [{"versions": 1}, {"previous": None}, {"shadow": [1]}])
def test_a_state_of_wrong_types_is_read(spoilt: dict[str, object], tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_text(json.dumps({"versions": ["1"], "previous": [], "shadow": None} | spoilt))
    assert isinstance(parse_state(file), RepositoryState)


def test_a_state_comes_back_as_it_was_written(tmp_path: Path) -> None:
    state = RepositoryState(("1", "2"), ("1",), "2")
    (tmp_path / "state.json").write_bytes(state.dumped())
    assert parse_state(tmp_path / "state.json") == state
