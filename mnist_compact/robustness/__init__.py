"""How a trained network behaves beyond the test images: corruptions, calibration and the hardest images."""
