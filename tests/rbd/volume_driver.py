"""Cinder's own driver for Ceph RBD, with our mixin."""

from cinder.volume.drivers.rbd import RBDDriver

from imagevol_adapters.driver import ImageCloneMixin


class CloningRBDDriver(ImageCloneMixin, RBDDriver):
    """Clones image volumes by the strict rules, and has templates."""
