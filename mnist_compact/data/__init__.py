"""MNIST and its relatives: files and mirrors, data sets and splits, augmentation."""
