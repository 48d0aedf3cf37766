"""Models of pictures: the packaged backbone, and learning from good pictures."""
