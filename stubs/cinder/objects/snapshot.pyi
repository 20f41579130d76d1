from cinder.objects.volume import Volume

class Snapshot:
    id: str
    name: str
    volume: Volume
    volume_size: int
