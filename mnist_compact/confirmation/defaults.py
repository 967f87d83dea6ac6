"""Defaults that the command line and the Python API share."""

FOLDER = "outputs/confirmations"  # folder of all confirmations
SEEDS = 20  # seeds of a confirmation
RANKED_TRIALS = 12  # trials in the first round of a ranking
RANKED_BY = ("accuracy", "calibrated_loss")  # what a ranking sorts by; equal mean accuracies are sorted by log-loss
RANKING_SEEDS = 1  # seeds of each trial in the first round of a ranking
SEEDS_AFTER_SEARCH = 2  # the same for the ranking at the end of a search, so that each trial has at least three scores
