"""Defaults that the command line and the Python API share."""

FOLDER = "outputs/confirmations"  # of all confirmations
SEEDS = 20  # of a confirmation
RANKED_TRIALS = 12  # of a study, in the first round of a ranking
RANKING_SEEDS = 1  # of each candidate in the first round
