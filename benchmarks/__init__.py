"""Measurements of speed, memory and start-up. README.md says how to run them; no test depends on their numbers."""
