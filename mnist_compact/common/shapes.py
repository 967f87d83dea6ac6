"""The image size and the number of classes of every data set and network."""

SIDE = 28  # px
CLASSES = 10
