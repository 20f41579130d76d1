"""What a Cinder volume driver inherits: strict clones of image volumes, and templates ([clone], [template])."""

from cinder import objects

objects.register_all()  # which every program of Cinder's does first, and what is imported here needs

from imagevol_adapters.driver.mixin import ImageCloneMixin  # noqa: E402 - after Cinder's objects are there
from imagevol_adapters.driver.options import OPTIONS  # noqa: E402 - as above

__all__ = ["OPTIONS", "ImageCloneMixin"]
