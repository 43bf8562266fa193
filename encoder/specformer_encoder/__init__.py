"""Bulk RNA-seq profiles: reading, ordering, the encoder, what it says of them, its training."""
