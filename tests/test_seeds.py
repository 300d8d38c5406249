import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxonet.seeds import generator, seed_of

KEYS = st.lists(st.integers(-(2**70), 2**70) | st.text(), max_size=4)


@given(one=KEYS, other=KEYS)
def test_seeds_are_equal_exactly_for_equal_keys(
    one: list[int | str], other: list[int | str]
) -> None:
    assert (seed_of(*one) == seed_of(*other)) == (one == other)
    assert 0 <= seed_of(*one) < 2**63


def test_a_number_and_its_text_are_two_keys() -> None:
    assert seed_of(1) != seed_of("1")
    assert seed_of("a", "b") != seed_of("a, b")
    assert seed_of("ab", "c") != seed_of("a", "bc")


def test_seeds_never_change() -> None:
    # A changed seed would silently change every split and every resumed run. The number is
    # BLAKE2b (8 bytes, little-endian, halved) of the text (0, 'split'), as b2sum gives it.
    assert seed_of(0, "split") == 6880625467214373241


@pytest.mark.parametrize("hash_seed", ["0", "123"])
def test_seeds_are_the_same_in_every_process(hash_seed: str) -> None:
    code = "from taxonet.seeds import seed_of; print(seed_of(0, 'split', 'ü'))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=True,
        text=True,
    )
    assert int(found.stdout) == seed_of(0, "split", "ü")


def test_generators_are_independent_of_each_other_and_of_the_global_state() -> None:
    expected = generator("a").normal(size=5)
    generator("b").normal(size=100)
    np.random.default_rng(0).normal(size=7)
    assert np.array_equal(generator("a").normal(size=5), expected)
    assert not np.array_equal(generator("b").normal(size=5), expected)
