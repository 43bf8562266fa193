"""A model release on disk: tensors in safetensors, everything else in JSON, nothing pickled.

    release.json          id, sizes, vocabulary hash, how it was trained, SHA-256 of every file
    encoder.safetensors   weights of the network (bfloat16)
    genes.safetensors     idf of the ordering
    factors.safetensors   factor model of the ranks (loadings in float16)
    projection.safetensors
                          from network and factors to the embedding
    heads.safetensors     arrays of the heads; their other parameters are in heads.json
    heads.json
    vocabulary.txt        Ensembl ids, one a line, in token order
    evaluation.json       test results with intervals, if evaluated
    MODEL_CARD.md         the card

The release's own hash is that of the list of file hashes without card and evaluation: it changes
with any number that an answer depends on, and with nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from specformer_encoder.errors import ReleaseError
from specformer_encoder.files import move_into_place, sha256_of, sync_tree
from specformer_encoder.heads import Heads
from specformer_encoder.projection import Projection

if TYPE_CHECKING:
    from specformer_encoder.factors import FactorModel

FloatArray = npt.NDArray[np.float32]

BUNDLED = Path(__file__).parent / "bundled"
FORMAT = 3
_REMEDY = "Reinstall specformer-mcp, or build a release with `specformer release build`."


@dataclass(frozen=True)
class Release:
    """An opened release.

    Attributes
    ----------
    path
        Its folder.
    id
        Name and version, e.g. ``specformer-0.1.0``.
    sha256
        Hash of everything that decides an answer.
    manifest
        The whole of `release.json`.
    vocabulary
        V Ensembl ids.
    idf
        (V,) information weights of the ordering.
    projection
        From network and factors to the embedding.
    heads
        The fitted heads.
    """

    path: Path
    id: str
    sha256: str
    manifest: dict[str, Any]
    vocabulary: list[str]
    idf: FloatArray
    projection: Projection
    heads: Heads

    @cached_property
    def factors(self) -> FactorModel:
        """Factor model of the ranks; read when it is first used, for it needs PyTorch."""
        from safetensors.numpy import load_file

        from specformer_encoder.factors import FactorModel

        return FactorModel.from_tensors(load_file(self.path / "factors.safetensors"))


def _release_hash(files: dict[str, str]) -> str:
    lines = [f"{files[name]}  {name}" for name in sorted(files)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def open_release(path: Path | None = None) -> Release:
    """Open a release and check it against its own hashes.

    Parameters
    ----------
    path
        Its folder; the bundled release by default.

    Raises
    ------
    ReleaseError
        If a file is missing, was changed, or the vocabulary is not the one this version resolves
        genes to.
    """
    from safetensors.numpy import load_file

    from specformer_encoder.genes import vocabulary

    path = path or BUNDLED
    manifest_file = path / "release.json"
    if not manifest_file.is_file():
        raise ReleaseError(f"There is no model release in {path} (no release.json).", _REMEDY)
    try:
        manifest = json.loads(manifest_file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ReleaseError(f"{manifest_file} is damaged ({error}).", _REMEDY) from error
    if manifest.get("format") != FORMAT:
        raise ReleaseError(
            f"{path} has release format {manifest.get('format')!r}; this version reads {FORMAT}.",
            "Use a release and a specformer-mcp of the same series.",
        )
    for name, expected in manifest["files"].items():
        file = path / name
        if not file.is_file():
            raise ReleaseError(f"The release in {path} lacks {name}.", _REMEDY)
        if sha256_of(file) != expected:
            raise ReleaseError(f"{file} was changed after the release was built.", _REMEDY)
    genes = load_file(path / "genes.safetensors")
    names = (path / "vocabulary.txt").read_text(encoding="utf-8").split()
    if names != vocabulary().ensembl_ids:
        raise ReleaseError(
            f"The release in {path} has another gene vocabulary ({len(names)} genes) than this "
            f"version of specformer-mcp ({len(vocabulary())}).",
            "Use the specformer-mcp version that the release was built with.",
        )
    settings: dict[str, Any] = json.loads((path / "heads.json").read_text(encoding="utf-8"))
    return Release(
        path=path,
        id=manifest["id"],
        sha256=_release_hash(manifest["files"]),
        manifest=manifest,
        vocabulary=names,
        idf=genes["idf"],
        projection=Projection(**load_file(path / "projection.safetensors")),
        heads=Heads.of(load_file(path / "heads.safetensors"), settings),
    )


def check_destination(out: Path) -> None:
    """Refuse a folder that holds something else than a release: it would be replaced.

    Raises
    ------
    ReleaseError
        If `out` exists, is not empty and has no `release.json`.
    """
    if out.exists() and not (out / "release.json").is_file() and any(out.iterdir()):
        raise ReleaseError(
            f"{out} exists and is not a release (it has no release.json).", "Give another --out."
        )


def write_release(
    out: Path,
    *,
    release_id: str,
    encoder: dict[str, Any],
    model: dict[str, int],
    vocabulary: list[str],
    idf: FloatArray,
    factors: FactorModel,
    projection: Projection,
    heads: Heads,
    training: dict[str, Any],
) -> None:
    """Write a release beside `out` and rename it into place.

    Parameters
    ----------
    out
        Its folder; one that is there is replaced once the new one is whole.
    release_id
        Name and version.
    encoder
        Weights by name, torch tensors.
    model
        Fields of the model's configuration.
    vocabulary, idf, factors, projection, heads
        As in `Release`.
    training
        How it was trained; goes into the manifest as it is.
    """
    import safetensors.numpy
    import safetensors.torch

    partial = out.with_name(f"{out.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        safetensors.torch.save_file(encoder, partial / "encoder.safetensors")
        for name, tensors in (
            ("genes", {"idf": np.ascontiguousarray(idf)}),
            ("factors", factors.tensors()),
            ("projection", projection.tensors()),
        ):
            safetensors.numpy.save_file(tensors, partial / f"{name}.safetensors")
        (partial / "vocabulary.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
        safetensors.numpy.save_file(heads.tensors(), partial / "heads.safetensors")
        _write_json(partial / "heads.json", heads.settings())
        for file in partial.iterdir():
            file.chmod(0o644)  # safetensors writes files that only their owner can read
        files = {file.name: sha256_of(file) for file in sorted(partial.iterdir())}
        manifest = {
            "format": FORMAT,
            "id": release_id,
            "model": model,
            "training": training,
            "files": files,
        }
        _write_json(partial / "release.json", manifest)
        sync_tree(partial)
        move_into_place(partial, out, replace=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
