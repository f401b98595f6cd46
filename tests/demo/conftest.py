from __future__ import annotations

import numpy as np
import pytest

from demo.digits import PIXELS, Images


@pytest.fixture
def images() -> Images:
    """Ten images whose first pixel is their label."""
    x = np.zeros((10, PIXELS), dtype=np.float32)
    x[:, 0] = np.arange(10)
    return Images(x=x, y=np.arange(10, dtype=np.int64))
