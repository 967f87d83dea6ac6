"""What every data set gives and every network takes: images of this side, each of one of so many classes."""

SIDE = 28  # px
CLASSES = 10
