"""Compiled CPU kernels for BatchNorm, ReLU, dropout and pooling (Numba)."""
