"""Small samples for the tests of the store: three genes, a real account of a real file."""

import functools
import hashlib
from pathlib import Path

import numpy as np

from specformer_encoder.profiles import load_profiles
from specformer_encoder.reading import Reading
from specformer_mcp.samples import Sample, handle_of

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
THREE = np.array([1.5, np.nan, 0.1], np.float32)


@functools.cache
def profiles():
    return load_profiles(EXAMPLES / "luad_tumor.tsv.gz")


def sample(number, *, embedded=False):
    """Return a sample of its own content; the numbers of its embedding say which it is."""
    values = THREE + np.float32(number)
    one = Sample(
        handle=handle_of(hashlib.sha256(values.tobytes()).hexdigest()),
        name=f"s{number}",
        source="file",
        values=values,
        unit=profiles().unit,
        genes=profiles().genes,
        genes_measured=3,
    )
    if embedded:
        one.set_embedding(*vectors(number), release="a release")
    return one


def vectors(number):
    """Return the embedding and the reading that belong to a sample."""
    one = np.float32(number)
    reading = Reading(
        raw=np.array([[one, -one]]),
        misfit=np.array([one]),
        lineages=np.array([np.nan], np.float32),
        measured=np.array([0.5], np.float32),
    )
    return np.array([one, 1], np.float32), reading
