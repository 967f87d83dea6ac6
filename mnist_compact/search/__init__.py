"""Who works at a study: the sweeper that Hydra calls, its parent, and worker processes that waste nothing."""
