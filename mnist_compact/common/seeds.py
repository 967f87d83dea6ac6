"""Seeds derived from the run's one seed, a purpose and an epoch.

Every epoch starts from random states that depend on nothing but these, so a continued run draws what an uninterrupted
one would have drawn, without any random state on disk.
"""

import random


def derive_seed(seed: int, purpose: str, epoch: int = 0) -> int:
    """A seed in [0, 2**63) that differs with each argument and is the same on every machine."""
    return random.Random(f"{seed}/{purpose}/{epoch}").getrandbits(63)
