"""Measurements of speed, memory and start-up. README.md explains how to run them. No test depends on their figures."""
