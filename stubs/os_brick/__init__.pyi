"""What is used of os-brick, which ships no types."""

from oslo_config.cfg import ConfigOpts

def setup(conf: ConfigOpts) -> None: ...
