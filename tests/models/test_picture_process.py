"""The process that decodes pictures: what it finds, what it refuses, and that it is replaced."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
from picture_models import bright_model, bright_outputs, hanging_model
from PIL import Image, ImageOps

from edge_agent.config.cameras import View
from edge_agent.errors import DecodeError, ModelError
from edge_agent.models.runtime.picture_child import Inspector, PictureQuestion
from edge_agent.models.runtime.picture_decode import PictureLimits, decode, encode_jpeg
from edge_agent.models.runtime.picture_engine import PictureGraph
from edge_agent.models.runtime.picture_graphs import GraphToLoad
from edge_agent.models.runtime.picture_process import PictureProcess
from edge_agent.signals import HIDDEN, EncodedPicture, Look, reference_look, to_square
from edge_agent.values import BAD_NO_DATA, BAD_OUT_OF_RANGE, BAD_SENSOR_FAILURE, GOOD
from scripts.hostile_pictures import hostile_pictures, inspect_all, scene, with_segment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_agent.models.runtime.picture_process import Inspected

RNG = np.random.default_rng(3)
VIEW = View()
ASKED = PictureQuestion("gate", VIEW, 64)


@pytest.fixture(scope="module")
def process() -> Iterator[PictureProcess]:
    made = PictureProcess()
    yield made
    made.stop()


def encoded(data: bytes) -> EncodedPicture:
    return EncodedPicture("gate", data, 1, 2)


def jpeg(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def test_a_picture_comes_back_as_a_square_with_its_look_and_a_thumbnail(
    process: PictureProcess,
) -> None:
    """Decoded, cut and scaled as `to_square` does, and a thumbnail of what is looked at alone."""
    image = scene(RNG, 96)
    asked = ASKED._replace(view=View(region=(0, 0, 0.5, 1)), square=True)
    found = process.inspect(encoded(jpeg(image, "PNG")), asked)
    assert (found.status, found.error, found.faults) == (GOOD, "", ())
    assert (found.width, found.height) == (96, 96)
    assert found.square is not None
    assert (found.square == to_square(np.asarray(image)[:, :48], 64)).all()
    assert Image.open(io.BytesIO(found.thumbnail)).size == (48, 96)
    assert found.look is not None
    assert found.outputs == {}


@pytest.fixture
def own_process() -> Iterator[PictureProcess]:
    made = PictureProcess()
    yield made
    made.stop()


def test_the_process_runs_the_graphs_that_a_picture_is_asked_of(
    own_process: PictureProcess,
) -> None:
    """Each for itself: one that fails has an error, the other its outputs; also after a restart."""
    process = own_process
    process.add_graph("light", PictureGraph(bright_model(), 64, ("score", "map")))
    process.add_graph("broken", PictureGraph(b"no graph", 64, ("score",)))
    image = jpeg(scene(RNG), "PNG")
    square = process.inspect(encoded(image), ASKED._replace(square=True)).square
    assert square is not None
    both = ASKED._replace(models=("broken", "light"))
    score = float(bright_outputs(square[None])["score"][0])
    for starts in (1, 2):
        found = process.inspect(encoded(image), both)
        assert set(found.outputs) == {"light"}
        assert found.outputs["light"]["score"] == pytest.approx(score, abs=1e-4)
        assert found.outputs["light"]["map"].shape == (8, 8)
        assert "broken" in found.errors
        assert process.starts >= starts
        process.stop()
    again = process.run_graph("light", np.stack([square, square]))
    assert again["score"] == pytest.approx([score] * 2, abs=1e-4)
    process.remove_graph("light")
    assert "not loaded" in process.inspect(encoded(image), both).errors["light"]
    with pytest.raises(ModelError, match="not loaded"):
        process.run_graph("light", square[None])


def test_a_few_hundred_hostile_pictures(process: PictureProcess) -> None:
    """Each is refused with a reason, or seen with nothing but its pixels; one process for all.

    Ten thousand: ./scripts/hostile-pictures.
    """
    outcome = inspect_all(islice(hostile_pictures(5), 320), process)
    assert outcome.wrong == []
    assert process.starts == 1
    assert outcome.grown["daemon_files"] == outcome.grown["child_files"] == 0


def test_a_picture_that_ends_its_process_costs_only_itself() -> None:
    """Killed, as the kernel does when memory is short: the next picture starts another one."""
    process = PictureProcess()
    try:
        assert process.inspect(encoded(jpeg(scene(RNG))), ASKED).status == GOOD
        os.kill(process.pid, signal.SIGKILL)
        found = process.inspect(encoded(jpeg(scene(RNG))), ASKED)
        assert found.reason == "memory"
        assert found.status >> 31
        assert process.inspect(encoded(jpeg(scene(RNG))), ASKED).status == GOOD
        assert process.starts == 2
    finally:
        process.stop()
    assert process.pid == 0


def test_a_picture_that_computes_for_too_long_is_ended() -> None:
    """It is the fault of the picture, not of the model that should judge it."""
    process = PictureProcess()
    try:
        process.add_graph("light", PictureGraph(bright_model(), 64, ("score", "map")))
        slow = ASKED._replace(cpu_s=1e-6, models=("light",))
        found = process.inspect(encoded(jpeg(scene(RNG, 2400))), slow)
    finally:
        process.stop()
    assert found.reason == "timeout"
    assert found.errors == {}
    assert "too long" in found.error


def test_a_graph_that_hangs_is_an_error_of_its_model_and_the_others_judge(
    own_process: PictureProcess,
) -> None:
    """The picture is good: another process decodes it again, for the others alone."""
    process = own_process
    process.add_graph("light", PictureGraph(bright_model(), 64, ("score", "map")))
    process.add_graph("hangs", PictureGraph(hanging_model(), 64, ("score",)))
    asked = ASKED._replace(models=("hangs", "light"), cpu_s=1.0)
    found = process.inspect(encoded(jpeg(scene(RNG))), asked)
    assert (found.status, found.error) == (GOOD, "")
    assert set(found.outputs) == {"light"}
    assert found.thumbnail
    assert set(found.errors) == {"hangs"}
    assert "while its graph ran: it takes too long" in found.errors["hangs"]
    assert process.starts == 2


def test_a_process_that_is_killed_while_a_graph_runs_is_no_error_of_its_model(
    own_process: PictureProcess,
) -> None:
    """The kernel does so when other programs took the memory: a good version stays active."""
    process = own_process
    process.add_graph("hangs", PictureGraph(hanging_model(), 64, ("score",)))
    image = encoded(jpeg(scene(RNG)))
    assert process.inspect(image, ASKED).status == GOOD
    child = psutil.Process(process.pid)
    before_s = child.cpu_times().user
    found: list[Inspected] = []
    asked = ASKED._replace(models=("hangs",), cpu_s=60.0)
    asking = threading.Thread(target=lambda: found.append(process.inspect(image, asked)))
    asking.start()
    while child.cpu_times().user < before_s + 0.5:  # it decodes in milliseconds
        asking.join(0.01)
    child.kill()
    asking.join()
    assert (found[0].reason, found[0].errors) == ("memory", {})


def test_a_picture_without_data_keeps_the_status_of_its_source(process: PictureProcess) -> None:
    bad = EncodedPicture("gate", b"", 1, 2, status=BAD_SENSOR_FAILURE)
    assert process.inspect(bad, ASKED).status == BAD_SENSOR_FAILURE
    assert process.inspect(encoded(b""), ASKED).status == BAD_NO_DATA


# -- in this process, which may decode: it is a test ----------------------------------------------


def looked(*images: Image.Image, view: View = VIEW, **asked: Any) -> list[dict[str, Any]]:
    inspector = Inspector()
    question = ASKED._replace(view=view, **asked)
    return [inspector.inspect(question, jpeg(one, "PNG"))[0] for one in images]


def test_a_blind_camera_is_bad_and_is_not_judged() -> None:
    dark = Image.new("RGB", (64, 64), (5, 5, 5))
    (found,) = looked(dark)
    assert found["faults"] == ("dark",)
    assert found["status"] == BAD_OUT_OF_RANGE
    inspector = Inspector()
    inspector.graphs.load(GraphToLoad("d", 64, ("score", "map")), bright_model())
    judged = ASKED._replace(models=("d", "gone"))
    assert [name for name, _ in inspector.inspect(judged, jpeg(dark))[0]["arrays"]] == ["thumbnail"]
    good, arrays = inspector.inspect(judged, jpeg(scene(RNG)))
    assert [name for name, _ in good["arrays"]] == ["thumbnail", "0.score", "0.map"]
    assert [one.shape for one in arrays[1:]] == [(), (8, 8)]
    assert "not loaded" in good["errors"]["gone"]


def test_the_very_same_picture_again_and_again_is_frozen() -> None:
    """From the fifth on, and not after another picture came between; a region is compared alone."""
    one, other = scene(RNG), scene(RNG)
    found = looked(*[one] * 5, other, one)
    assert [row["faults"] for row in found] == [()] * 4 + [("frozen",), (), ()]
    assert not any(row["faults"] for row in looked(*[one] * 9, view=View(frozen_after=0)))


def test_blur_is_judged_by_what_learning_saw() -> None:
    sharp = [Look(*row["look"]) for row in looked(*(scene(RNG, 64) for _ in range(9)))]
    soft = scene(RNG, 64).resize((8, 8)).resize((64, 64))
    assert looked(soft, reference=reference_look(sharp))[0]["faults"] == ("blurred",)


def test_a_mask_of_a_file_hides_what_is_black_and_a_wrong_one_is_an_error(tmp_path: Path) -> None:
    mask = np.full((64, 64), 255, np.uint8)
    mask[:, :32] = 0
    file = tmp_path / "mask.png"
    Image.fromarray(mask).save(file)
    inspector = Inspector()
    asked = ASKED._replace(view=View(mask_file=file), square=True)
    answer, arrays = inspector.inspect(asked, jpeg(scene(RNG, 64), "PNG"))
    assert (arrays[1][:, :31] == HIDDEN).all()
    assert not (arrays[1][:, 33:] == HIDDEN).all()
    file.write_bytes(b"no picture")
    os.utime(file, (1, 1))
    answer, _ = inspector.inspect(asked, jpeg(scene(RNG, 64)))
    assert answer["reason"] == "mask"
    assert str(file) in answer["error"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_a_picture_as_pillow_does(orientation: int) -> None:
    image = scene(RNG, 64).crop((0, 0, 64, 32))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = jpeg(image, "PNG", exif=exif.tobytes())
    wanted = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert (decode(data) == np.asarray(wanted)).all()


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA"])
def test_grey_palette_and_transparent_pictures_become_rgb(mode: str) -> None:
    """What is transparent is grey, as if it were masked."""
    image = scene(RNG, 32).convert("RGBA")
    image.putalpha(255 if mode != "RGBA" else 0)
    found = decode(jpeg(image.convert(mode), "PNG"))
    if mode == "RGBA":
        assert (found == HIDDEN).all()
    elif mode in {"L", "LA", "1"}:
        assert (found[..., 0] == np.asarray(image.convert(mode).convert("L"))).all()
    assert found.shape == (32, 32, 3)


def test_limits_are_checked_before_anything_is_decoded() -> None:
    data = jpeg(scene(RNG, 64))
    with pytest.raises(DecodeError, match="max_bytes"):
        decode(data, PictureLimits(max_bytes=100))
    with pytest.raises(DecodeError, match="max_pixels"):
        decode(data, PictureLimits(max_pixels=4095))
    assert decode(data, PictureLimits(max_pixels=4096)).shape == (64, 64, 3)


def test_a_thumbnail_keeps_its_bound_for_any_picture() -> None:
    noise = RNG.integers(0, 256, (900, 1200, 3), np.uint8)
    assert 0 < len(encode_jpeg(noise, 320, 32 << 10)) <= 32 << 10
    assert len(encode_jpeg(noise, 320, 4 << 10)) <= 4 << 10


def test_metadata_does_not_reach_the_thumbnail() -> None:
    data = with_segment(jpeg(scene(RNG)), 0xE1, b"Exif\0\0secret")
    _, arrays = Inspector().inspect(ASKED, data)
    assert b"secret" not in arrays[0].tobytes()
    assert b"Exif" not in arrays[0].tobytes()


def test_the_daemons_end_never_imports_the_decoder() -> None:
    code = (
        "import sys; import edge_agent.models.runtime.picture_process;"
        "print([one for one in sys.modules if one.startswith('PIL')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
