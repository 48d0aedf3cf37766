"""Models on inference servers: what a wrong server can do, and what takes its place."""

from __future__ import annotations

import ssl
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from certificates import write_certificate
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from isolated_models import rows, runtime
from remote_models import SOON, RemoteSite, is_used
from tiny_versions import NAME

from edge_agent.config.settings import RemoteServer, Trust
from edge_agent.config.types import Secret
from edge_agent.errors import ModelError
from edge_agent.models import LateError, RemoteAccess, SessionRegistry, parse_golden, route_of
from edge_agent.models.bundle.bundle import load_manifest, write_bundle
from edge_agent.models.bundle.manifest_text import dump_manifest, parse_manifest
from edge_agent.models.bundle.remote_spec import RemoteSpec
from edge_agent.ops.metrics import Metrics
from edge_agent.testing import wait_until
from scripts.rigs.oip_server import MODES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_agent.models import Model

X = rows(1.0, 2.0, 3.0)


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[RemoteSite]:
    made = RemoteSite(tmp_path)
    yield made
    made.close()


# -- a server that works --------------------------------------------------------------------------


@pytest.mark.parametrize("is_binary", [True, False], ids=["binary", "json"])
def test_a_server_scores_as_the_graph_here(plant: RemoteSite, *, is_binary: bool) -> None:
    """Also more windows than one call has; raw tensors only where the server lists them."""
    server = plant.serve(is_binary=is_binary)
    model = plant.load()
    x = {"x": np.random.default_rng(1).random((200, 4, 2)).astype(np.float32)}
    assert np.allclose(model.infer(x).score, model.infer_here(x).score, atol=1e-6)
    assert plant.scored("remote") == 200
    headers, head = server.served.requests[-1]
    assert head["id"].startswith(f"{NAME}.")
    assert headers["Content-Type"] == f"application/{'octet-stream' if is_binary else 'json'}"
    assert ("data" in head["inputs"][0]) is not is_binary
    assert "deflate" not in headers["Accept-Encoding"]


def test_a_connection_that_the_server_closed_is_replaced_without_a_failure(
    plant: RemoteSite,
) -> None:
    """Servers close what is idle; the next window must not be the price."""
    server = plant.serve()
    model = plant.load()
    for one in list(server._kept):
        one.close()
    assert model.infer(X).score.tolist() == [1.0, 2.0, 3.0]
    assert (plant.scored("remote"), plant.scored("local")) == (3, 0)


def test_calls_go_to_the_server_with_the_fewest_that_wait(plant: RemoteSite) -> None:
    """A run of several batches uses both, and one that fails is replaced by the other."""
    for _ in range(2):
        plant.serve(slow_s=0.005)
    model = plant.load()
    before = [one.served.scored for one in plant.servers]
    model.infer({"x": np.ones((6 * 64, 4, 2), np.float32)})
    shares = [one.served.scored - old for one, old in zip(plant.servers, before, strict=True)]
    assert shares == [192, 192]
    plant.servers[0].served.mode = "text500"
    for _ in range(4):
        assert model.infer(X).score.tolist() == [1.0, 2.0, 3.0]
    assert plant.scored("local") == 0
    assert is_used(model)


def test_the_key_is_sent_and_is_in_no_text(
    plant: RemoteSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong key is refused by the server; no reason repeats it."""
    server = plant.serve(key="correct-horse")
    monkeypatch.setenv("REMOTE_KEY", "wrong-battery")
    model = plant.load(key=Secret(env="REMOTE_KEY"), is_good=False)
    assert model.remote is not None
    assert "401" in model.remote.trouble
    assert "battery" not in str(model.remote.as_dict())
    monkeypatch.setenv("REMOTE_KEY", "correct-horse")
    wait_until(lambda: is_used(model), timeout_s=10, what="the new key")
    assert server.served.requests


# -- a server that is wrong -----------------------------------------------------------------------

LABELS = {
    "nan": "not_a_number",
    "wrong_shape": "shape",
    "no_output": "shape",
    "other_id": "protocol",
    "redirect": "redirected",
    "text500": "refused",
    "half": "protocol",
    "drip": "timeout",
    "endless": "too_long",
    "gzip": "protocol",
    "hang": "timeout",
    "closed": "unreachable",
    "garbage": "protocol",
}


@pytest.mark.parametrize("mode", LABELS)
def test_what_a_server_answers_wrong_the_graph_here_scores_in_the_same_run(
    plant: RemoteSite, mode: str
) -> None:
    """Nothing wrong is used, the trouble says so, and the server returns by itself."""
    server = plant.serve()
    model = plant.load(timeout_s=0.6)
    server.served.mode = mode
    begin_s = time.monotonic()
    assert model.infer(X).score.tolist() == [1.0, 2.0, 3.0]
    assert time.monotonic() - begin_s < 5.0
    assert (plant.scored("remote"), plant.scored("local")) == (0, 3)
    assert plant.failures(LABELS[mode]) >= 1
    assert not is_used(model)
    assert model.infer(X).score.tolist() == [1.0, 2.0, 3.0]
    assert plant.scored("local") == 6
    server.served.mode = "good"
    wait_until(lambda: is_used(model), timeout_s=10, what="the return")
    assert model.infer(X).score.tolist() == [1.0, 2.0, 3.0]
    assert plant.scored("remote") == 3


def test_every_misbehaviour_is_tested() -> None:
    """`wrong_values` is below: only the golden vectors can find it."""
    assert MODES.keys() - LABELS.keys() == {"wrong_values"}


def test_the_control_without_checks_a_wrong_answer_is_used(
    plant: RemoteSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests above fail if nobody looks at the numbers."""
    server = plant.serve()
    model = plant.load()
    monkeypatch.setattr(np, "isfinite", lambda x: np.ones_like(x, bool))
    server.served.mode = "nan"
    assert np.isnan(model.infer(X).score).all()


def test_a_server_with_another_model_is_never_used(plant: RemoteSite) -> None:
    """Its answers look right; the golden vectors do not come back."""
    plant.serve(mode="wrong_values")
    model = plant.load(is_good=False)
    assert model.remote is not None
    assert "golden vectors are not reproduced: score is off by 3" in model.remote.trouble
    assert model.infer(X).score.tolist() == [1.0, 2.0, 3.0]
    assert plant.scored("local") == 3


def test_a_server_whose_model_is_replaced_is_found_by_the_next_check(plant: RemoteSite) -> None:
    """A server in use is checked again and again."""
    server = plant.serve()
    model = plant.load(pace=replace(SOON, verify_s=0.05))
    server.served.mode = "wrong_values"
    wait_until(lambda: not is_used(model), timeout_s=10, what="the check")
    assert plant.failures("golden") >= 1


def test_metadata_that_do_not_fit_are_found_before_a_window_is_sent(plant: RemoteSite) -> None:
    """Its tensors are compared with the manifest's."""
    server = plant.serve(outputs_as="BYTES")
    model = plant.load(is_good=False)
    assert model.remote is not None
    assert "output 'score' is BYTES there, not FP32" in model.remote.trouble
    assert server.served.requests == []


def test_a_server_that_is_slower_than_its_timeout_is_not_used(plant: RemoteSite) -> None:
    """The golden vectors are right, but every run would be too late."""
    plant.serve(slow_s=0.08)
    model = plant.load(timeout_s=0.05, is_good=False)
    assert model.remote is not None
    assert "more than 50 ms" in model.remote.trouble


def test_a_server_that_is_gone_costs_the_model_thread_nothing(plant: RemoteSite) -> None:
    """Connections are opened by the server's own thread."""
    server = plant.serve()
    model = plant.load()
    server.stop()
    assert model.infer(X).score.tolist() == [1.0, 2.0, 3.0]
    begin_s = time.perf_counter()
    for _ in range(100):
        model.infer(X)
    assert time.perf_counter() - begin_s < 5.0
    assert plant.scored("local") == 303


def test_a_handshake_that_does_not_end_holds_up_nobody(plant: RemoteSite) -> None:
    """TLS to a server that only accepts connections."""
    server = plant.serve()
    model = plant.load(urls=(server.url.replace("http", "https"),), is_good=False)
    assert model.remote is not None
    assert model.infer(X).score.tolist() == [1.0, 2.0, 3.0]
    assert not is_used(model)


def test_tls_needs_the_authority_of_the_config(plant: RemoteSite, tmp_path: Path) -> None:
    """A server of an authority that is not named gets nothing."""
    files = tmp_path / "server.pem", tmp_path / "server.key"
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    key = ec.generate_private_key(ec.SECP256R1())
    write_certificate(files, "localhost", key, [(names, False)])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    server = plant.serve(tls=context)
    model = plant.load(is_good=False)
    assert model.remote is not None
    assert "its certificate is not trusted" in model.remote.trouble
    assert server.served.requests == []
    trusted = plant.load(ca=files[0])
    assert is_used(trusted)
    assert trusted.infer(X).score.tolist() == [1.0, 2.0, 3.0]
    assert plant.scored("remote") == 3


# -- late runs ------------------------------------------------------------------------------------


def test_a_slow_answer_is_used_in_a_later_turn(plant: RemoteSite) -> None:
    """A turn waits for a short time only; the answer of a large model is not lost."""
    server = plant.serve()
    model = plant.load(turn_s=0.01, timeout_s=10.0)
    server.served.slow_s = 0.5
    begin_s = time.monotonic()
    with pytest.raises(LateError):
        model.infer(X)
    assert time.monotonic() - begin_s < 0.45
    assert late_scores(model) == [1.0, 2.0, 3.0]
    assert plant.scored("remote") == 3


def test_a_late_run_that_never_ends_is_scored_here(plant: RemoteSite) -> None:
    """At its timeout."""
    server = plant.serve()
    model = plant.load(turn_s=0.01, timeout_s=0.6)
    server.served.mode = "hang"
    with pytest.raises(LateError):
        model.infer(X)
    assert late_scores(model) == [1.0, 2.0, 3.0]
    assert (plant.scored("remote"), plant.scored("local")) == (0, 3)
    assert plant.failures("timeout") >= 1


def late_scores(model: Model) -> list[float]:
    found: list[float] = []

    def is_there() -> bool:
        try:
            found[:] = model.late_outputs().score.tolist()
        except LateError:
            return False
        return True

    wait_until(is_there, timeout_s=10, what="the answer")
    return found


# -- the allow-list -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "is_allowed"),
    [
        ("https://triton.plant:8000", True),
        ("https://TRITON.plant:8000/", True),
        ("https://triton.plant:8000/below", True),
        ("http://triton.plant:8000", False),
        ("https://triton.plant:8001", False),
        ("https://triton.plant.evil:8000", False),
        ("https://evil/triton.plant:8000", False),
        ("https://ingress.plant/pumps", True),
        ("https://ingress.plant/pumps/a", True),
        ("https://ingress.plant/pumpsx", False),
        ("https://ingress.plant/pumps/../others", False),
        ("https://ingress.plant/pumps/%2e%2e/others", False),
        ("https://ingress.plant", False),
    ],
)
def test_a_bundle_decides_nothing_that_the_config_does_not_list(
    url: str, *, is_allowed: bool
) -> None:
    """Scheme, host, port and the beginning of the path must be listed."""
    urls = ("https://triton.plant:8000", "https://ingress.plant:443/pumps/")
    route = route_of("pump", RemoteSpec((url,)), (RemoteServer(urls),))
    assert route is not None
    assert bool(route.targets) is is_allowed
    assert route.refused == (() if is_allowed else (url,))


def test_the_config_binds_bundles_to_servers_whatever_they_name() -> None:
    """A bundle knows no host of the plant; by default none of it leaves the gateway."""
    here = RemoteServer(("http://127.0.0.1:8000",), ("pump-*",))
    assert route_of("pump-1", None, ()) is None
    assert route_of("fan", None, (here,)) is None
    for spec in (None, RemoteSpec(("https://author.example",), model="x")):
        route = route_of("pump-1", spec, (here,))
        assert route is not None
        assert [url for url, _ in route.targets] == ["http://127.0.0.1:8000"]
        assert route.refused == ()


def test_a_bundle_whose_server_is_not_listed_is_scored_here_and_says_so(plant: RemoteSite) -> None:
    """Loaded as the daemon does; the server never hears of it."""
    server = plant.serve()
    made = load_manifest(plant.folder)
    named = replace(made, remote=RemoteSpec((server.url,)), sha256={})
    onnx = (plant.folder / "model.onnx").read_bytes()
    golden = parse_golden((plant.folder / "golden.npz").read_bytes())
    write_bundle(plant.folder, named, onnx, golden)
    assert load_manifest(plant.folder).remote == RemoteSpec((server.url,))
    scored = {}
    for access in (RemoteAccess(()), RemoteAccess((RemoteServer((server.url,)),))):
        registry = SessionRegistry(
            plant.folder.parent,
            runtime(),
            Metrics(),
            Trust(allow_unsigned=("*",)),
            remote=access,
        )
        model = registry.load(NAME)
        assert model.remote is not None
        assert model.infer(X).score.tolist() == [1.0, 2.0, 3.0]
        scored[len(access.servers)] = server.served.scored
        if not access.servers:
            assert "the config's `remote` does not list it" in model.remote.trouble
        model.remote.close()
        del model
    assert scored[0] == 0
    assert scored[1] > 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"urls": ("ftp://x",)}, "must be a URL"),
        ({"urls": ("http://user:word@x",)}, "a login never belongs"),
        ({"model": "../other"}, "letters, digits"),
    ],
)
def test_a_manifest_with_a_wrong_remote_is_refused(
    plant: RemoteSite, changes: dict[str, Any], said: str
) -> None:
    """With the key in words."""
    named = replace(load_manifest(plant.folder), remote=RemoteSpec(**changes), sha256={})
    with pytest.raises(ModelError, match=said):
        parse_manifest(dump_manifest(named), plant.folder / "model.yaml")


def test_nothing_of_it_is_imported_unless_a_bundle_has_a_server(tmp_path: Path) -> None:
    """Start time and memory of other gateways stay as they are."""
    code = (
        "import sys; sys.path[:0] = [{!r}, {!r}]; from isolated_models import Host; "
        "from pathlib import Path; from tiny_versions import mean; "
        "Host(Path({!r})).load(mean); "
        "print([one for one in sys.modules if 'remote_server' in one])"
    )
    paths = [str(one) for one in sys.path if one.endswith("tests")]
    text = code.format(paths[0], paths[0].removesuffix("/tests"), str(tmp_path))
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
