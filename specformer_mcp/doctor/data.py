"""Release and index: whole, unchanged, made for each other; the two backends of one mind."""

from __future__ import annotations

import importlib.metadata
from importlib.util import find_spec

from specformer_encoder.errors import SpecformerError
from specformer_mcp.doctor.finding import Finding, ok, problem, warning
from specformer_mcp.settings import Settings


def check_release_and_index(settings: Settings) -> list[Finding]:
    """Ask whether release and index are whole and belong together."""
    from specformer_encoder.release import open_release

    try:
        release = open_release(settings.release)
    # A damaged file may be met by whatever library reads it.
    except (SpecformerError, OSError, ValueError, KeyError) as error:
        return [_failed("release", error, "Reinstall specformer-mcp, or mend --release.")]
    finding = ok("release", f"{release.id}, sha256 {release.sha256[:12]}, all files unchanged")
    return [finding, _index(settings, release.sha256)]


def _index(settings: Settings, release_sha256: str) -> Finding:
    from specformer_index.opening import read_info, verify
    from specformer_index.search import ReferenceIndex

    try:
        info = read_info(settings.index)
        changed = verify(info)
        if changed:
            return problem(
                "index",
                f"{len(changed)} files of {info.path} are missing or were changed: "
                f"{', '.join(changed[:3])}",
                "Reinstall specformer-mcp, or rebuild it with `specformer index build`.",
            )
        ReferenceIndex.open(
            settings.index, release_sha256=release_sha256, version=settings.index_version
        )
    except (SpecformerError, OSError, ValueError, KeyError, RuntimeError) as error:
        return _failed("index", error, "Reinstall specformer-mcp, or mend --index.")
    counts = ", ".join(f"{number} {what}" for what, number in info.counts.items())
    return ok("index", f"{info.version}, {counts}, of this release, all files unchanged")


def check_openvino(settings: Settings) -> list[Finding]:
    """Ask whether OpenVINO, where it is installed, gives the vectors that PyTorch gives."""
    if find_spec("openvino") is None:
        return [ok("openvino", "not installed; PyTorch embeds, in a quarter more processor time")]
    import numpy as np

    from specformer_encoder.backends import TorchBackend
    from specformer_encoder.embedder import load_network
    from specformer_encoder.openvino_backend import OpenVinoBackend
    from specformer_encoder.release import open_release

    try:
        network = load_network(open_release(settings.release))
    except (SpecformerError, OSError, ValueError, KeyError):
        return []  # the check of the release says why
    config = network.config
    order = np.random.default_rng(0).permutation(config.genes).astype(np.uint16)
    sequences = [order[: min(length, config.length)] for length in (64, config.length)]
    try:
        theirs = OpenVinoBackend(network).pool(sequences)
    except (SpecformerError, OSError, RuntimeError) as error:
        return [
            warning(
                "openvino",
                f"it cannot be used, PyTorch embeds instead: {str(error).splitlines()[0][:200]}",
                "pip install --upgrade 'specformer-mcp[openvino]', or pip uninstall openvino",
            )
        ]
    ours = TorchBackend(network).pool(sequences)
    cosine = (ours * theirs).sum(axis=1) / (
        np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    )
    version = importlib.metadata.version("openvino")
    return [ok("openvino", f"{version}, agrees with PyTorch (cosine {cosine.min():.6f})")]


def _failed(check: str, error: Exception, remedy: str) -> Finding:
    if isinstance(error, SpecformerError):
        return problem(check, error.problem, error.remedy)
    return problem(check, f"it is damaged: {str(error).splitlines()[0][:200]}", remedy)
