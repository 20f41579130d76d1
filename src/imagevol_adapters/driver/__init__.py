"""What a Cinder volume driver inherits: strict clones of image volumes, and templates ([clone], [template]).

Its options (`imagevol_adapters.configuration.backend_options`) can be imported without Cinder; all else here needs it.
"""

from importlib.util import find_spec

from imagevol_adapters.configuration.backend_options import OPTIONS

if find_spec("cinder"):
    from cinder import objects

    objects.register_all()  # which every program of Cinder's does first, and what is imported here needs

    from imagevol_adapters.driver.mixin import ImageCloneMixin

__all__ = ["OPTIONS", "ImageCloneMixin"]


def __getattr__(name: str) -> object:
    """Say that Cinder is missing, rather than that there is no such name."""
    if name == "ImageCloneMixin":
        raise ModuleNotFoundError("ImageCloneMixin needs Cinder, which is not installed here", name="cinder")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
