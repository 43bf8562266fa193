"""A sample as a row of a table and two blobs of arrays, and back, bit for bit and without pickle.

The blobs are safetensors, zstd-compressed: the values; the embedding, what it came from and the
release that made it. What was said of unit and genes is JSON, checked against its types when it
comes back.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from typing import TYPE_CHECKING, Any

from specformer_mcp.samples.catalogue import Key
from specformer_mcp.samples.sample import Sample, SampleSummary

if TYPE_CHECKING:
    import pyarrow as pa
    from pydantic import TypeAdapter

    from specformer_encoder.genes import GeneReport
    from specformer_encoder.units import UnitCall

Row = dict[str, Any]

LIGHT = ("id", "owner", "handle", "content", "used", "size", "name", "source", "genes_measured")
"""The columns that are small."""
_LEVEL = 1
_MOST_BYTES = 64_000_000
"""Largest array blob that is unpacked; a row may come from a file that someone changed."""


def row_id(key: Key) -> str:
    """Return the key of a row; a handle has a fixed length, so no two keys are alike."""
    owner, handle = key
    return f"{handle}:{owner}"


@functools.cache
def schema() -> pa.Schema:
    """Return the schema of the table: of a row without its blobs."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("owner", pa.string(), nullable=False),
            pa.field("handle", pa.string(), nullable=False),
            pa.field("content", pa.string(), nullable=False),
            pa.field("used", pa.float64(), nullable=False),
            pa.field("size", pa.int64(), nullable=False),
            pa.field("name", pa.string(), nullable=False),
            pa.field("source", pa.string(), nullable=False),
            pa.field("genes_measured", pa.int32(), nullable=False),
            pa.field("vocabulary", pa.string(), nullable=False),
            pa.field("account", pa.string(), nullable=False),
        ]
    )


def to_row(key: Key, sample: Sample, *, content: str, used: float) -> Row:
    """Return the row of a sample, with its blobs `values` and, if it is embedded, `vectors`."""
    import numpy as np

    vectors = None
    # The embedding is looked at first: it is set last.
    embedding, reading, release = sample.embedding, sample.reading, sample.release
    if embedding is not None and reading is not None and release is not None:
        named = {f"reading.{f.name}": getattr(reading, f.name) for f in dataclasses.fields(reading)}
        named["release"] = np.frombuffer(release.encode(), np.uint8)
        vectors = _pack({"embedding": embedding, **named})
    return {
        "id": row_id(key),
        "owner": key[0],
        "handle": key[1],
        "content": content,
        "used": used,
        "size": sample.size,
        "name": sample.name,
        "source": sample.source,
        "genes_measured": sample.genes_measured,
        "vocabulary": vocabulary_hash(),
        "account": _dump_account(sample),
        "values": _pack({"values": sample.values}),
        "vectors": vectors,
    }


def from_row(row: Row) -> Sample:
    """Return the sample of a row.

    Raises
    ------
    ValueError
        The row is not what `to_row` makes, or over another gene vocabulary.
    """
    if row["vocabulary"] != vocabulary_hash():
        raise ValueError("the values are over another gene vocabulary")
    unit, genes = _load_account(row["account"])
    sample = Sample(
        handle=row["handle"],
        name=row["name"],
        source=row["source"],
        values=_unpack(row["values"])["values"],
        unit=unit,
        genes=genes,
        genes_measured=row["genes_measured"],
    )
    if row["vectors"] is not None:
        add_vectors(sample, row["vectors"])
    return sample


def summary_of(row: Row) -> SampleSummary:
    """Return what a list says of the sample of a row."""
    return SampleSummary(
        handle=row["handle"],
        name=row["name"],
        source=row["source"],
        genes_measured=row["genes_measured"],
        used=row["used"],
    )


def add_vectors(sample: Sample, packed: bytes) -> None:
    """Give a sample the embedding of a sample of the same content.

    Raises
    ------
    ValueError, KeyError
        It is not what `to_row` makes.
    """
    from specformer_encoder.reading import Reading

    arrays = _unpack(packed)
    sample.reading = Reading(
        **{f.name: arrays[f"reading.{f.name}"] for f in dataclasses.fields(Reading)}
    )
    sample.release = arrays["release"].tobytes().decode()
    sample.embedding = arrays["embedding"]


@functools.cache
def vocabulary_hash() -> str:
    """Return a hash of the gene vocabulary: values over another one mean something else."""
    from specformer_encoder.genes import vocabulary

    return hashlib.sha256("\n".join(vocabulary().ensembl_ids).encode()).hexdigest()


def _dump_account(sample: Sample) -> str:
    # What NumPy counted is a NumPy integer.
    return json.dumps(
        [dataclasses.asdict(sample.unit), dataclasses.asdict(sample.genes)], default=int
    )


def _load_account(text: str) -> tuple[UnitCall, GeneReport]:
    checked: tuple[UnitCall, GeneReport] = _account_type().validate_python(json.loads(text))
    return checked


@functools.cache
def _account_type() -> TypeAdapter[tuple[UnitCall, GeneReport]]:
    from pydantic import TypeAdapter

    from specformer_encoder.genes import GeneReport
    from specformer_encoder.units import UnitCall

    return TypeAdapter(tuple[UnitCall, GeneReport])


def _pack(arrays: dict[str, Any]) -> bytes:
    """Arrays as safetensors, compressed, with the unpacked size in front."""
    import numpy as np
    import pyarrow as pa
    from safetensors.numpy import save

    blob = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    packed: bytes = pa.Codec("zstd", compression_level=_LEVEL).compress(blob, asbytes=True)
    return len(blob).to_bytes(8, "little") + packed


def _unpack(packed: bytes) -> dict[str, Any]:
    import pyarrow as pa
    from safetensors import SafetensorError
    from safetensors.numpy import load

    size = int.from_bytes(packed[:8], "little")
    if size > _MOST_BYTES:
        raise ValueError(f"an array of {size} bytes")
    try:
        blob = pa.Codec("zstd").decompress(packed[8:], decompressed_size=size, asbytes=True)
        arrays: dict[str, Any] = load(blob)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"the arrays are damaged: {error}") from error
    return arrays
