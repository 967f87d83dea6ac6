"""What is trained: the configuration of compact networks, their blocks, the networks, and their anatomy."""
