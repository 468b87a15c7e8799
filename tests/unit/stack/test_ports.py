"""Which ports servers are given."""

import pytest

from mlops_sdk.errors import MlopsError
from mlops_sdk.platform.ports import is_free, who_listens
from mlops_sdk.stack.ports import free_ports


def test_ports_differ_are_nobodys_and_none_that_the_system_gives_to_whoever_asks() -> None:
    first = free_ports(20)
    assert len(set(first)) == 20
    assert all(20_000 <= port < 32_000 for port in first)
    assert all(is_free(port) and who_listens(port) is None for port in first)
    assert not set(free_ports(20, set(first))) & set(first)


def test_ports_in_a_row_are_all_free_and_nobody_elses() -> None:
    odd = set(range(20_001, 32_000, 2))
    with pytest.raises(MlopsError, match="fewer than 1 are free with the 1 after them"):
        free_ports(1, odd, in_a_row=2)
    found = free_ports(5, {port for port in odd if port < 26_000}, in_a_row=2)
    assert len(found) == 5
    assert min(found) >= 26_000
    assert len({*found, *(port + 1 for port in found)}) == 10
