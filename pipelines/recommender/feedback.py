"""Feedback: one row in `interactions` and the user's row in `users`, both or neither.

`users` is a forked table: a release that does not own it is refused with SQLSTATE 42501, and then nothing is
written. Resending is the caller's.
"""

from dataclasses import dataclass
from typing import Annotated

from psycopg import AsyncConnection
from pydantic import BaseModel, ConfigDict, Field

from mlops_sdk.errors import NotFoundError
from pipelines.recommender.generator import LIKED_FROM

_BIGINT = 2**63 - 1


class Feedback(BaseModel):
    """What a client posts. `rating` is 1 to 5; none means that the film was liked."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    user_id: Annotated[int, Field(ge=1, le=_BIGINT)]
    film_id: Annotated[int, Field(ge=0, le=2**31 - 1)]
    rating: Annotated[int, Field(ge=1, le=5)] | None = None

    @property
    def liked(self) -> bool:
        """Whether the film is one that the user likes."""
        return self.rating is None or self.rating >= LIKED_FROM


@dataclass(frozen=True)
class Accepted:
    """The interaction's id and how many of the user's have been accepted, this one included."""

    interaction_id: int
    feedback_count: int


# First the table that another release may own: a refusal comes before anything is written.
_USER = """
    INSERT INTO users AS known (user_id, liked, met, feedback_count)
    VALUES (%(user_id)s, %(liked)s, ARRAY[%(film_id)s::int], 1)
    ON CONFLICT (user_id) DO UPDATE SET
        liked = array_remove(known.liked, %(film_id)s::int) || excluded.liked,
        met = array_remove(known.met, %(film_id)s::int) || excluded.met,
        feedback_count = known.feedback_count + 1,
        updated_at = clock_timestamp()
    RETURNING feedback_count
"""
_INTERACTION = """
    INSERT INTO interactions (user_id, film_id, rating, request_id, release)
    VALUES (%(user_id)s, %(film_id)s, %(rating)s, %(request_id)s, %(release)s)
    RETURNING interaction_id
"""
_FILM = "SELECT FROM content WHERE film_id = %s"


async def accept(
    connection: AsyncConnection, feedback: Feedback, *, request_id: str, release: str
) -> Accepted:
    """Write both rows and commit; when this returns, they are there.

    Raises NotFoundError if there is no such film, psycopg.errors.InsufficientPrivilege if another release
    owns `users`; nothing is written then.
    """
    values = {
        **feedback.model_dump(),
        "liked": [feedback.film_id] if feedback.liked else [],
        "request_id": request_id,
        "release": release,
    }
    async with connection.transaction():
        if await (await connection.execute(_FILM, [feedback.film_id])).fetchone() is None:
            raise NotFoundError(f"there is no film {feedback.film_id}")
        count = await (await connection.execute(_USER, values)).fetchone()
        interaction = await (await connection.execute(_INTERACTION, values)).fetchone()
    assert count and interaction
    return Accepted(interaction_id=interaction[0], feedback_count=count[0])
