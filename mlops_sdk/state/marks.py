"""Declares the table of once-only marks that belongs to a table of effects. `mlops_sdk.messaging.once` writes it.

A mark is carried or discarded with the effect that it stands for, so the table gets the kind, policy, writer and
retention of the other one. It must not touch a server.
"""

import dataclasses

from mlops_sdk.errors import InputError
from mlops_sdk.messaging.once import marks_table
from mlops_sdk.state.declare import Entity, Forked, Rederive, Shared


def marks_of(effects: Forked | Shared, *, rederive: Rederive | None = None) -> Forked | Shared:
    """The declaration of table `NAME_marks` for the effects in table `NAME`, to stand beside it in a State.

    Where the effects are rederived, the marks need a statement of their own, for what is replayed writes no mark by
    itself: give it as `rederive`, of the same source. Raises InputError without it, and for a table whose writers
    move with their entity, because a mark has none.
    """
    table, policy = effects.table, effects.policy if isinstance(effects, Forked) else None
    if isinstance(effects, Forked) and isinstance(effects.writer, Entity):
        raise InputError(
            f"table {table.name} has a writer for each {effects.writer.column}, its marks would have none",
            remedy='declare the table with writer="current"',
        )
    if isinstance(policy, Rederive) and (rederive is None or rederive.source != policy.source):
        raise InputError(
            f"table {table.name} is rederived from {policy.source}, and nothing says how its marks are",
            remedy=f'give marks_of(..., rederive=Rederive("{policy.source}", "INSERT INTO {table.name}_marks ..."))',
        )
    marks = marks_table(f"{table.name}_marks", table.metadata)
    if isinstance(effects, Shared):
        return Shared(marks)
    return dataclasses.replace(effects, table=marks, policy=rederive or effects.policy, dated=None)
