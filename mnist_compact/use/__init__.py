"""What one does with a trained network: load it, classify images, score it; and the zoo, networks that come along."""
