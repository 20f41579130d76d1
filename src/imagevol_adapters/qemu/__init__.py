"""Other formats than raw, through qemu-img, which is confined and limited."""

from typing import TYPE_CHECKING

from imagevol_adapters.lazy_imports import lazy_names

if TYPE_CHECKING:
    from imagevol_adapters.qemu.confinement import confined
    from imagevol_adapters.qemu.converter import QemuConverter, qemu_img_features, qemu_img_version
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "confinement": ("confined",),
            "converter": (
                "QemuConverter",
                "qemu_img_features",
                "qemu_img_version",
            ),
        },
    )

__all__ = ["QemuConverter", "confined", "qemu_img_features", "qemu_img_version"]
