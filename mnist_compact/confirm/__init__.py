"""One configuration over fresh seeds: how good it is on average, and how sure that is."""
