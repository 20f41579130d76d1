class VolumeAttachStatus:
    DETACHED: str
