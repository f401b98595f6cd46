from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from demo.digits import EXAMPLES, LIVE, PIXELS, Images, load_digits, newer_scanner


def rows(images: Images) -> set[bytes]:
    return {row.tobytes() for row in images.x}


def test_the_same_seed_splits_the_digits_the_same_way_and_another_does_not() -> None:
    first, again, other = load_digits(seed=1), load_digits(seed=1), load_digits(seed=2)

    assert np.array_equal(first.live.x, again.live.x)
    assert not np.array_equal(first.live.x, other.live.x)


def test_no_image_of_the_live_traffic_or_of_the_examples_was_trained_on() -> None:
    digits = load_digits(seed=1)

    assert (len(digits.examples), len(digits.live)) == (EXAMPLES, LIVE)
    assert not rows(digits.train) & (rows(digits.examples) | rows(digits.live))
    assert not rows(digits.examples) & rows(digits.live)


def test_half_of_the_live_images_and_none_of_the_examples_come_from_the_newer_scanner() -> None:
    """On the old scanner's paper the corners are blank; the newer one shows paper as full ink."""
    digits = load_digits(seed=1)

    light_paper = [float(np.mean(images.x[:, 0] < 8)) for images in (digits.live, digits.examples)]

    assert light_paper == [0.5, 1.0]
    assert np.array_equal(newer_scanner(newer_scanner(digits.examples.x)), digits.examples.x)


def test_images_survive_their_file(tmp_path: Path, images: Images) -> None:
    images.save(tmp_path / "images.npz")

    read = Images.load(tmp_path / "images.npz")

    assert np.array_equal(read.x, images.x)
    assert np.array_equal(read.y, images.y)


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=rf"\(2, 9\).* one row of {PIXELS} each"):
        Images(x=np.zeros((2, 9), dtype=np.float32), y=np.zeros(2, dtype=np.int64))
