"""OpenVINO gives PyTorch's vectors, a profile has the same bits however it comes, nothing leaks."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from specformer_encoder import backends, openvino_backend
from specformer_encoder.backends import BackendError, TorchBackend, open_backend
from specformer_encoder.errors import ExpressionValueError
from specformer_encoder.model import ModelConfig, SpecFormer
from specformer_encoder.openvino_backend import AGREEMENT, OpenVinoBackend
from specformer_encoder.ordering import gene_sequence
from specformer_encoder.profiles import load_profiles
from specformer_encoder.release import open_release

EXAMPLES = Path(__file__).parents[1] / "examples"
# Not importorskip: that would import it, and its telemetry with it.
needs_openvino = pytest.mark.skipif(find_spec("openvino") is None, reason="needs openvino")
BACKENDS = [
    pytest.param(TorchBackend, id="torch"),
    pytest.param(OpenVinoBackend, id="openvino", marks=needs_openvino),
]


def small_network(seed: int = 0) -> SpecFormer:
    """A network in which every layer does something; a fresh one's blocks are the identity."""
    torch.manual_seed(seed)
    network = SpecFormer(ModelConfig(genes=300, length=64, width=32, layers=2, heads=4))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def sequences(*lengths: int):
    draw = np.random.default_rng(0)
    return [draw.permutation(300)[:length].astype(np.uint16) for length in lengths]


def by_hand(network, sequence):
    """The vector by the network's own methods, from the module docstring of `model`."""
    with torch.no_grad():
        states = network.states(torch.tensor(sequence.astype(np.int64))[None])
        return network.pool(states)[0].numpy()


def cosines(ours, theirs):
    ours, theirs = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (ours, theirs))
    return (ours * theirs).sum(axis=1)


@pytest.fixture(scope="module")
def released():
    """The bundled network and the sequences of the real example samples, whole and as a panel."""
    release = open_release()
    network = SpecFormer(ModelConfig(**release.manifest["model"]))
    network.load_state_dict(load_file(release.path / "encoder.safetensors"))
    rows = []
    for name in ("luad_tumor.tsv.gz", "luad_normal.tsv.gz", "coadread_tumors.csv.gz"):
        for profile in load_profiles(EXAMPLES / name).values:
            length = network.config.length
            rows.append(gene_sequence(profile, release.idf, length))
            panel = profile.copy()
            panel[::2] = np.nan
            rows.append(gene_sequence(panel, release.idf, length)[:333])
    return network.eval(), rows


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_length_gives_the_vector_of_the_network(backend):
    network = small_network()
    rows = sequences(1, 2, 3, 7, 8, 33, 63, 64)
    expected = np.stack([by_hand(network, row) for row in rows])
    vectors = backend(network).pool(rows)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, rtol=1e-4, atol=1e-5)
    assert backend(network).pool([]).shape == (0, 32)


@needs_openvino
@pytest.mark.parametrize(("precision", "least"), [("float32", 0.999999), ("bfloat16", AGREEMENT)])
def test_openvino_gives_pytorchs_vectors_of_real_samples(released, precision, least):
    network, rows = released
    ours = OpenVinoBackend(network, precision=precision).pool(rows)
    theirs = np.stack([by_hand(network, row) for row in rows])
    assert cosines(ours, theirs).min() >= least
    # The samples are near one another before centring: what remains has to agree as well.
    centre = theirs.mean(axis=0)
    assert cosines(ours - centre, theirs - centre).min() >= least
    if precision == "float32":
        assert np.abs(ours - theirs).max() < 1e-5 * np.abs(theirs).max()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sample_has_the_same_bits_however_it_comes(backend, released, monkeypatch):
    network, rows = released
    opened = backend(network)
    alone = np.stack([opened.pool([row])[0] for row in rows])
    assert np.array_equal(opened.pool(rows), alone)
    with ThreadPoolExecutor(3) as callers:
        for batch in callers.map(opened.pool, [rows[:3][::-1]] * 3):
            assert np.array_equal(batch, alone[:3][::-1])
    # As on a machine with another number of cores.
    for module in (backends, openvino_backend):
        monkeypatch.setattr(module, "usable_cores", lambda: 5)
    assert np.array_equal(backend(network).pool(rows), alone)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_came_before_does_not_matter(backend, released):
    # OpenVINO compiled for any length fails here, and only after a sequence of one gene.
    network, rows = released
    opened = backend(network)
    for length in (1, 64, 512, 2, 512, 16):
        row = rows[0][:length]
        np.testing.assert_allclose(opened.pool([row])[0], by_hand(network, row), atol=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_no_gene_sequence_is_refused(backend):
    opened = backend(small_network())
    good = sequences(5)
    with pytest.raises(ExpressionValueError, match="at least one expressed gene"):
        opened.pool([*good, np.empty(0, np.uint16)])
    with pytest.raises(ValueError, match=r"at most 64 genes; got \(65,\)"):
        opened.pool(sequences(65))
    with pytest.raises(ValueError, match=r"from 0 to 299; got 300"):
        opened.pool([np.array([3, 300], np.uint16)])
    with pytest.raises(ValueError, match=r"one row"):
        opened.pool([np.array([[3]], np.uint16)])


@needs_openvino
def test_openvino_is_refused_where_its_vectors_are_not_pytorchs(monkeypatch, caplog):
    convert = openvino_backend._convert
    other = small_network(seed=1)
    monkeypatch.setattr(openvino_backend, "_convert", lambda openvino, _: convert(openvino, other))
    with pytest.raises(BackendError, match=r"cosine ≥ 0\.9999\); .* has cosine -?0\.\d+\."):
        open_backend(small_network(), "openvino")
    with caplog.at_level(logging.WARNING):
        assert open_backend(small_network()).name == "torch"
    assert "PyTorch is used instead of OpenVINO" in caplog.text


@needs_openvino
def test_a_network_that_cannot_be_converted_is_refused():
    class Unusual(SpecFormer):
        def pool(self, states):
            return torch.linalg.eigvals(states @ states.mT).real[:, :32]

    network = Unusual(ModelConfig(genes=300, length=64, width=32, layers=1, heads=4))
    with pytest.raises(BackendError, match="cannot convert this network"):
        open_backend(network, "openvino")


@needs_openvino
def test_a_network_that_cannot_be_compiled_is_refused(monkeypatch):
    monkeypatch.setitem(openvino_backend._PRECISIONS, "float32", "no such precision")
    with pytest.raises(BackendError, match="cannot compile this network for this processor"):
        OpenVinoBackend(small_network())


@needs_openvino
def test_openvino_is_taken_where_it_is_installed():
    assert open_backend(small_network()).name == "openvino"
    assert open_backend(small_network(), "torch").name == "torch"


def test_pytorch_is_taken_where_openvino_is_not_installed(monkeypatch, caplog):
    monkeypatch.setattr(backends, "find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setitem(sys.modules, "openvino_telemetry", None)
    with caplog.at_level(logging.DEBUG):
        assert open_backend(small_network()).name == "torch"
    assert not caplog.records, "it is optional: nothing to warn of"
    with pytest.raises(BackendError, match=r"pip install 'specformer-mcp\[openvino\]'"):
        open_backend(small_network(), "openvino")


def test_openvino_is_refused_where_its_telemetry_is_loaded(monkeypatch, caplog):
    monkeypatch.setattr(backends, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "openvino_telemetry", ModuleType("openvino_telemetry"))
    with pytest.raises(BackendError, match="without its telemetry"):
        open_backend(small_network(), "openvino")
    with caplog.at_level(logging.WARNING):
        assert open_backend(small_network()).name == "torch"
    assert "telemetry" in caplog.text


def test_an_unknown_backend_is_refused():
    with pytest.raises(BackendError, match="one of auto, torch, openvino; got 'onnx'"):
        open_backend(small_network(), "onnx")


# Whatever would leave the process raises an audit event of the interpreter: OpenVINO's telemetry
# forks a process that posts over HTTPS. The hook refuses it, so that this test sends nothing.
WATCHED = """
import atexit, json, sys
seen = []
LEAVING = ("socket.", "urllib.", "http.", "os.fork", "os.posix_spawn", "os.exec", "subprocess.")
def watch(event, arguments):
    if event.startswith(LEAVING):
        seen.append(event)
        raise PermissionError(event)
def report():
    loaded = [name for name, module in sys.modules.items() if module and "telemetry" in name]
    print(json.dumps([seen, sorted(loaded)]))
atexit.register(report)  # called when the threads have ended: it is sent from one
sys.addaudithook(watch)
try:
    exec(sys.argv[1])
except PermissionError:
    pass
"""
USE = """
from specformer_encoder import backends, openvino_backend
assert "openvino" not in sys.modules, "nothing heavy before it is needed"
import numpy as np
from specformer_encoder.model import ModelConfig, SpecFormer
network = SpecFormer(ModelConfig(genes=30, length=8, width=32, layers=1, heads=4))
backend = backends.open_backend(network, "openvino")
backend.pool([np.arange(5, dtype=np.uint16)] * 3)
"""


def watched(code: str, home: Path):
    """(events that would have left the process, loaded modules of telemetry) of running `code`."""
    settings = dict(os.environ, HOME=str(home), PYTHONPATH=os.pathsep.join(sys.path))
    # OpenVINO sends nothing from continuous integration; this has to hold everywhere.
    for name in ("CI", "TF_BUILD", "JENKINS_URL"):
        settings.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=settings,
    )
    return json.loads(done.stdout.splitlines()[-1])


@needs_openvino
def test_nothing_leaves_the_process_and_nothing_is_left_in_the_home_directory(tmp_path):
    events, modules = watched(USE, tmp_path)
    assert events == []
    assert modules == [
        "openvino.tools.ovc.telemetry_params",
        "openvino.tools.ovc.telemetry_stub",
        "openvino.tools.ovc.telemetry_utils",
    ]
    assert list(tmp_path.iterdir()) == []


def test_the_watch_sees_a_process_and_a_connection(tmp_path):
    assert watched("import os; os.fork()", tmp_path)[0] == ["os.fork"]
    assert watched("import socket; socket.create_connection(('127.0.0.1', 9))", tmp_path)[0]
