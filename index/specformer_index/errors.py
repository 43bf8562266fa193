"""Errors of the reference index that a user can mend."""

from specformer_encoder.errors import SpecformerError


class ReferenceIndexError(SpecformerError):
    """The index is missing, damaged, made for another release, or asked for the impossible."""
