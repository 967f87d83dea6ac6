"""The MNIST images: getting the files, splitting them, changing batches."""
