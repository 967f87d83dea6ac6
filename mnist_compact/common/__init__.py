"""Small utilities that every package may import."""
