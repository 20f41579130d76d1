"""The facts that `imagevol_core.validate` decides on: what a backend does with real volumes.

Nothing here decides.  `try_backend` creates volumes of the smallest size, and deletes all of them again.
"""

from imagevol_adapters.validating.trying import try_backend

__all__ = ["try_backend"]
