"""Quantized weights back to float32, one file a format, in NumPy alone.

Written from the formats' descriptions and used by the reference only: a reader that shared code
with a writer, or with an engine, could not find its faults.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Stored: TypeAlias = NDArray[Any]
"""A tensor as its file holds it."""
