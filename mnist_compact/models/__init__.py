"""The family of compact networks: configuration, blocks, network, model summary, receptive field."""
