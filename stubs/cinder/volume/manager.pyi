from oslo_config.cfg import Opt

volume_backend_opts: list[Opt]
