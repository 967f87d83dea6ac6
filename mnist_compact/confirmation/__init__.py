"""Confirmation of one configuration over repeated seeds, and re-ranking of a study's best trials."""
