"""Seeds derived from the seed of the run, a purpose and an epoch.

The random states of every epoch depend only on these three values. A resumed run therefore draws the same numbers as
an uninterrupted run, and no random state has to be saved.
"""

import random


def derive_seed(seed: int, purpose: str, epoch: int = 0) -> int:
    """Derive a seed in [0, 2**63) that is the same on every machine.

    Args:
        seed: The seed of the run.
        purpose: What the random numbers are for, such as "augment".
        epoch: The epoch, 0 for anything that is drawn once per run.
    """
    return random.Random(f"{seed}/{purpose}/{epoch}").getrandbits(63)
