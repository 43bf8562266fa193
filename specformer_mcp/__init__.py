"""The Model Context Protocol server of SpecFormer, and its command line.

Four tools answer four questions about one bulk RNA-seq sample: where does it lie, what is it like,
what cancer is it, what stands out. Importing this package loads nothing heavy.
"""

__version__ = "0.1.0"
