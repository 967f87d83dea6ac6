"""What is kept of a search: the study in its storage or as a file, founded once, read by whoever asks."""
