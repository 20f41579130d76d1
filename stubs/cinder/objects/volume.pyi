class Volume:
    id: str
    name: str
    size: int
