"""How deep a parameter lies, for what treats the layers of a model unlike each other."""


def depth(name: str, layers: int) -> int:
    """By its name in a classifier: 0 in the head (classifier and pooler), 1 in the top layer, `layers` in the lowest,
    and one more in the embeddings."""
    if name.startswith("bert.embeddings."):
        return layers + 1
    if name.startswith("bert.layers."):
        return layers - int(name.split(".")[2])
    return 0
