"""What a person reads while something runs: a run's display, a search's view, refusals, comparisons."""
