from __future__ import annotations

import numpy as np

from assay.simulation.device_names import DEVICES_MAX, DeviceNames


def test_numbers_are_unique_and_fit_eight_digits() -> None:
    """No two codes have one number, over the whole range of codes."""
    numbers = DeviceNames(np.random.default_rng(3)).of(np.arange(0, DEVICES_MAX, 64))
    assert len(np.unique(numbers)) == len(numbers)
    assert numbers.min() >= 0
    assert numbers.max() < DEVICES_MAX < 10**8


def test_a_number_depends_on_seed_and_code_alone() -> None:
    """More devices change no number, and another seed gives others."""
    few, many = (DeviceNames(np.random.default_rng(3)).of(np.arange(n)) for n in (100, 100_000))
    assert (few == many[:100]).all()
    other = DeviceNames(np.random.default_rng(4)).of(np.arange(100))
    assert (few != other).mean() > 0.9


def test_neighbours_are_scattered() -> None:
    """The numbers of one customer's devices do not lie side by side."""
    numbers = DeviceNames(np.random.default_rng(3)).of(np.arange(10_000))
    assert abs(np.corrcoef(np.arange(10_000), numbers)[0, 1]) < 0.05
