"""What a Cinder volume driver inherits: strict clones of image volumes, and templates ([clone], [template])."""

from imagevol_adapters.driver.mixin import ImageCloneMixin
from imagevol_adapters.driver.options import OPTIONS

__all__ = ["OPTIONS", "ImageCloneMixin"]
