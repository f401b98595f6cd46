"""The images of the demo: scikit-learn's handwritten digits (8x8, 1,797 of them) in three parts that never overlap.

The story behind the bad model lives here. Half of the live images come from a newer scanner, which delivers light ink
on dark paper. The validation examples were set aside before it was installed, so they show none of its images. A
training run that loses those images from its data passes validation and fails on live traffic; only labels from live
traffic, counted per version, show it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PIXELS = 64
BRIGHTEST = 16.0
"""Pixels are ink counts from 0 to 16, as scikit-learn ships them; the models scale them themselves."""
EXAMPLES = 250
LIVE = 500

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Images and the digits that a person read in them, row by row."""

    x: Floats
    y: Labels

    def __post_init__(self) -> None:
        if self.x.shape != (len(self.y), PIXELS):
            raise ValueError(
                f"images of shape {self.x.shape!r} for {len(self.y)} labels: give one row of {PIXELS} each"
            )

    def __len__(self) -> int:
        return len(self.y)

    def save(self, path: Path) -> None:
        """Write the arrays `x` and `y` to an `.npz` file."""
        np.savez_compressed(path, x=self.x, y=self.y)

    @classmethod
    def load(cls, path: Path) -> Images:
        """Read what `save` wrote."""
        with np.load(path) as arrays:
            return cls(x=arrays["x"].astype(np.float32), y=arrays["y"].astype(np.int64))


@dataclass(frozen=True, slots=True, kw_only=True)
class Digits:
    """The three parts of the data set.

    :param train: What both scanners delivered, for training.
    :param train_old_scanner: The same without the newer scanner's images: the bad model's data.
    :param examples: Held out for validation, from before the newer scanner.
    :param live: Held out for the live traffic, every second image from the newer scanner.
    """

    train: Images
    train_old_scanner: Images
    examples: Images
    live: Images


def newer_scanner(x: Floats) -> Floats:
    """Return the same images as the newer scanner delivers them: light ink on dark paper."""
    return np.asarray(BRIGHTEST - x, dtype=np.float32)


def load_digits(*, seed: int) -> Digits:
    """Split scikit-learn's digits; the same seed gives the same parts."""
    from sklearn.datasets import load_digits as load  # noqa: PLC0415 - a second of import that the load generator does without

    bunch = load()
    order = np.random.default_rng(seed).permutation(len(bunch.target))
    x = bunch.data[order].astype(np.float32)
    y = bunch.target[order].astype(np.int64)
    examples, live, train = np.split(np.arange(len(y)), [EXAMPLES, EXAMPLES + LIVE])
    return Digits(
        train=Images(x=np.concatenate([x[train], newer_scanner(x[train])]), y=np.concatenate([y[train], y[train]])),
        train_old_scanner=Images(x=x[train], y=y[train]),
        examples=Images(x=x[examples], y=y[examples]),
        live=_live(Images(x=x[live], y=y[live])),
    )


def _live(images: Images) -> Images:
    x = images.x.copy()
    x[1::2] = newer_scanner(x[1::2])
    return Images(x=x, y=images.y)
