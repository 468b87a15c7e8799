"""Builds table `histories`: what each user had met and liked before they used the service.

A change of this module is a rebuild, so it imports no more than it needs.
"""

from collections.abc import Iterator

from mlops_sdk.state.context import Batch, BuildContext

# 4 and 5 are a like, as in generator.LIKED_FROM.
_HISTORIES = """
    SELECT user_id,
           coalesce(array_agg(film_id ORDER BY film_id) FILTER (WHERE rating >= 4), '{}') AS liked,
           array_agg(film_id ORDER BY film_id) AS met
    FROM interactions GROUP BY user_id ORDER BY user_id
"""


def build_histories(context: BuildContext) -> Iterator[Batch]:
    """Every user of the source, at once."""
    yield Batch(list(context.source("interactions", _HISTORIES)))
