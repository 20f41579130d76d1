from typing import Any

def register_all() -> None: ...

# What a driver is given has whatever its object has; register_all puts the classes here.
Volume: Any
VolumeList: Any
VolumeType: Any
