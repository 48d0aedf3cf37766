"""Models of pictures: the packaged backbone, and learning from good pictures."""

# Not imported here: they need the package `onnx`, which the daemon never loads.
__all__ = ["backbone", "graph"]
