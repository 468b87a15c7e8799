"""When a message that failed is tried again, and when it is given up. Pure: chance is given as a number."""

from dataclasses import dataclass

from mlops_sdk.errors import InputError

LONGEST_DELAY_S = 600.0  # the longest deadline of Pub/Sub
MOST_ATTEMPTS = 50  # Pub/Sub itself ends what was delivered 100 times


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff with jitter: the delays double from `first_delay_s` up to `longest_delay_s`.

    A message is given up after `max_attempts` deliveries, those to consumers that were killed included.
    """

    max_attempts: int = 5
    first_delay_s: float = 1.0
    longest_delay_s: float = 300.0

    def __post_init__(self) -> None:
        if not 1 <= self.max_attempts <= MOST_ATTEMPTS:
            raise InputError(f"max_attempts is {self.max_attempts}; it is 1 to {MOST_ATTEMPTS}")
        if not 0 < self.first_delay_s <= self.longest_delay_s <= LONGEST_DELAY_S:
            raise InputError(
                f"delays from {self.first_delay_s} s to {self.longest_delay_s} s: they are more than 0, in order, "
                f"and at most {LONGEST_DELAY_S:.0f} s"
            )

    def delay_s(self, attempt: int, chance: float) -> float:
        """Seconds to wait after attempt number `attempt` (from 1) failed; `chance` is uniform in [0, 1).

        Half of the delay is fixed and half is chance ("equal jitter": M. Brooker, Exponential Backoff And Jitter,
        AWS Architecture Blog, 2015), so that messages that failed together do not come back together.
        """
        # 2.0 ** 1024 would be no float; the cap is reached long before.
        doubled = self.first_delay_s * 2.0 ** min(attempt - 1, 60)
        delay = min(self.longest_delay_s, doubled)
        return delay / 2 + delay / 2 * chance

    def is_last(self, attempt: int) -> bool:
        """Whether nothing is tried after attempt number `attempt` failed."""
        return attempt >= self.max_attempts
