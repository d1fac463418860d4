"""Which users `evaluate` holds out, and intervals over users, for measurements outside the program."""
import numpy as np

MASK, SAMPLES = (1 << 64) - 1, 2000


def place(user):
    """0 to 99 of an integer id: below split.users_percent, the user is held out."""
    x = (user + 0x9E3779B97F4A7C15) & MASK
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK
    return (x ^ x >> 31) % 100


def bootstrap(sums, counts):
    """Means of draws of users: sums [U, ...] over a user's cases, counts [U] -> [SAMPLES, ...]."""
    drawn = np.random.default_rng(1).integers(len(counts), size=(SAMPLES, len(counts)))
    weights = np.stack([np.bincount(row, minlength=len(counts)) for row in drawn])
    shape = (SAMPLES,) + (1,) * (sums.ndim - 1)
    return np.tensordot(weights, sums, axes=1) / (weights @ counts).reshape(shape)


def interval(draws):
    """95 %, as text."""
    low, high = np.quantile(draws, (0.025, 0.975))
    return f"{low:+.4f} to {high:+.4f}"
