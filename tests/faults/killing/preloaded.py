"""What the process imports of which commands are forks, so that no point lies in Python's imports."""

__all__ = ["IN_MEMORY", "ON_REAL"]

PRELOADED = (
    "imagevol_adapters.cli.app",
    "imagevol_adapters.cli.data",
    "imagevol_adapters.cli.cp",
    "imagevol_adapters.cli.locations",
    "imagevol_adapters.cli.templates",
    "imagevol_adapters.cli.audit",
    "imagevol_adapters.transfers",
    "imagevol_adapters.engine.writing",
    "imagevol_adapters.tending.warming",
    "imagevol_adapters.relocating",
    "imagevol_adapters.repairing",
    "imagevol_adapters.store_copies",
    "imagevol_adapters.gathering",
    "imagevol_adapters.configuration.stores",
)
IN_MEMORY = (*PRELOADED, "tests.faults.killing.forked")
ON_REAL = (
    *PRELOADED,
    "openstack.config",
    "keystoneauth1.loading",
    "cinderclient.client",
    "glanceclient.v2.client",
    "imagevol_adapters.cinder.volumes",
    "imagevol_adapters.glance.images",
)
