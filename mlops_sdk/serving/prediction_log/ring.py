"""A ring of blocks of rows, bounded by bytes: the oldest make room. Pure; one thread may add while another takes."""

import threading
from collections import deque
from dataclasses import dataclass

# What Python needs for a block beside its bytes: two objects and a place in the deque.
OVERHEAD_BYTES = 160


@dataclass(frozen=True, slots=True)
class Block:
    """Whole rows of COPY's text format, and how many they are."""

    data: bytes
    rows: int

    @property
    def cost(self) -> int:
        """How many bytes of memory it takes."""
        return len(self.data) + OVERHEAD_BYTES


class Ring:
    """At most `max_bytes` of blocks that wait. Neither adding nor taking ever waits for anything slow."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._blocks: deque[Block] = deque()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def bytes_used(self) -> int:
        """How many bytes wait now."""
        return self._bytes

    def add(self, block: Block) -> int:
        """Put a block behind the others; how many rows were dropped to make room, its own if it is too large."""
        dropped = 0
        with self._lock:
            if block.cost > self._max_bytes:
                return block.rows
            self._blocks.append(block)
            self._bytes += block.cost
            while self._bytes > self._max_bytes:
                dropped += self._pop().rows
        return dropped

    def take(self, at_most_bytes: int) -> list[Block]:
        """Remove and return the oldest blocks, up to so many bytes, but at least one if there is any."""
        taken: list[Block] = []
        room = at_most_bytes
        with self._lock:
            while self._blocks and (not taken or self._blocks[0].cost <= room):
                block = self._pop()
                room -= block.cost
                taken.append(block)
        return taken

    def _pop(self) -> Block:
        block = self._blocks.popleft()
        self._bytes -= block.cost
        return block
