"""All I/O: collects the facts, asks `imagevol_core`, carries the decision out.

Each module stands behind an extra of the distribution and is imported by its own name, so that a program pays only for
the libraries it uses.
"""
