"""Samples that were read once and are referred to by a handle from then on.

A matrix never passes through the language model: the file goes in, ``smp_`` and 16 hexadecimal
digits of the profile's content hash come back. The same content has the same handle, so embedding a
file twice is harmless. A handle is a name, not a permission: it opens a sample to its owner alone.
Nothing heavy is imported before a sample is kept or fetched.
"""

from specformer_mcp.samples.sample import Sample, SampleSummary, UnknownSampleError, handle_of
from specformer_mcp.samples.store import SampleStore

__all__ = ["Sample", "SampleStore", "SampleSummary", "UnknownSampleError", "handle_of"]
