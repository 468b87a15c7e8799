"""What a writer does: each operation is one transaction, and tells the effect once it is acknowledged.

An operation checks what its statements return against what was acknowledged before, so that a lost write is
noticed by the next one to the same row, whichever release is live by then.
"""

import random
from collections.abc import Callable
from typing import Any

import psycopg

from tests.support.history.rows import Account, Rows, expect
from tests.support.history.tables import HOT

Conn = psycopg.Connection[Any]
Effect = Callable[[], None]
MOST_ACCOUNTS = 150


class Operations:
    """The operations of one writer, which alone changes accounts from `first` on."""

    def __init__(self, rows: Rows, chance: random.Random, first: int) -> None:
        self.rows = rows
        self.chance = chance
        self._next = first

    def choose(self) -> Callable[[Conn], Effect]:
        """An operation by chance; never one that has no row to work on."""
        own = bool(self.rows.accounts)
        full = len(self.rows.accounts) > MOST_ACCOUNTS
        weights: dict[Callable[[Conn], Effect], int] = {
            self.add_one: 6,
            self.add_several: 2,
            self.upsert_hot: 3,
            self.create: 0 if full else 3,
            self.create_many: 0 if full else 1,
            self.touch: 5 * own,
            self.touch_many: own,
            self.upsert_own: 2 * own,
            self.child_before_parent: 2 * bool(self.rows.items),
            self.upsert_item: 2 * own,
            self.delete_item: bool(self.rows.items),
            self.delete: 2 * own + 4 * full,
            self.change_key: 2 * bool(self.rows.without_items()),
            self.swap_unique: 2 * (len(self.rows.accounts) > 1),
        }
        return self.chance.choices(list(weights), list(weights.values()))[0]

    def _fresh(self) -> int:
        self._next += 1
        return self._next

    def _own(self, count: int = 1) -> list[int]:
        """Keys in ascending order, so that transactions never wait for each other in a circle."""
        known = list(self.rows.accounts)
        return sorted(self.chance.sample(known, min(count, len(known))))

    # --- rows of everybody

    def add_one(self, conn: Conn) -> Effect:
        """One row, one statement."""
        key = self.chance.randrange(HOT)
        done = conn.execute("UPDATE accounts SET n = n + 1 WHERE account_id = %s RETURNING account_id", [key])
        expect(done.fetchall(), [(key,)], "add one")
        return lambda: self.rows.added.update([key])

    def add_several(self, conn: Conn) -> Effect:
        """Several statements, in the order of keys."""
        keys = sorted(self.chance.sample(range(HOT), 3))
        with conn.transaction():
            for key in keys:
                conn.execute("UPDATE accounts SET n = n + 1 WHERE account_id = %s", [key])
        return lambda: self.rows.added.update(keys)

    def upsert_hot(self, conn: Conn) -> Effect:
        """INSERT … ON CONFLICT of a row that is there."""
        key = self.chance.randrange(HOT)
        conn.execute(
            "INSERT INTO accounts AS a (account_id, slot, n) VALUES (%s, %s, 1)"
            " ON CONFLICT (account_id) DO UPDATE SET n = a.n + 1",
            [key, -key],
        )
        return lambda: self.rows.added.update([key])

    # --- rows of this writer alone

    def create(self, conn: Conn) -> Effect:
        """A parent and its children in one transaction."""
        key = self._fresh()
        numbers = range(self.chance.randrange(4))
        with conn.transaction():
            conn.execute("INSERT INTO accounts (account_id, slot) VALUES (%s, %s)", [key, key])
            for number in numbers:
                conn.execute("INSERT INTO items (account_id, item_no) VALUES (%s, %s)", [key, number])

        def effect() -> None:
            self.rows.accounts[key] = Account(key, 0, 0)
            self.rows.items.update({(key, number): 0 for number in numbers})

        return effect

    def create_many(self, conn: Conn) -> Effect:
        """Many rows in one statement."""
        keys = [self._fresh() for _ in range(40)]
        conn.execute(
            "INSERT INTO accounts (account_id, slot) SELECT k, k FROM unnest(%s::bigint[]) AS k", [keys]
        )
        return lambda: self.rows.accounts.update({key: Account(key, 0, 0) for key in keys})

    def touch(self, conn: Conn) -> Effect:
        """The next version of one row, which must come after the one acknowledged last."""
        return self._touch(conn, self._own())

    def touch_many(self, conn: Conn) -> Effect:
        """The next version of many rows in one statement."""
        return self._touch(conn, self._own(60))

    def _touch(self, conn: Conn, keys: list[int]) -> Effect:
        done = conn.execute(
            "UPDATE accounts SET version = version + 1, n = n + 2 WHERE account_id = ANY(%s)"
            " RETURNING account_id, slot, n, version",
            [keys],
        ).fetchall()
        after = {k: self._after(k, n=2, version=1) for k in keys}
        expect(done, [(k, *row) for k, row in after.items()], "touch")
        return lambda: self.rows.accounts.update(after)

    def _after(self, key: int, *, n: int = 0, version: int = 0) -> Account:
        before = self.rows.accounts[key]
        return before._replace(n=before.n + n, version=before.version + version)

    def upsert_own(self, conn: Conn) -> Effect:
        """INSERT … ON CONFLICT of a row that is there or not."""
        new = self.chance.random() < 0.5
        key = self._fresh() if new else self._own()[0]
        after = Account(key, 5, 0) if new else self._after(key, n=5)
        done = conn.execute(
            "INSERT INTO accounts AS a (account_id, slot, n) VALUES (%s, %s, 5)"
            " ON CONFLICT (account_id) DO UPDATE SET n = a.n + 5 RETURNING slot, n, version",
            [key, key if new else -key],
        ).fetchall()
        expect(done, [after], "upsert")
        return lambda: self.rows.accounts.update({key: after})

    def child_before_parent(self, conn: Conn) -> Effect:
        """A transaction that takes the tables in the other order than the cutover does."""
        item = self.chance.choice(list(self.rows.items))
        after = self._after(item[0], version=1)
        with conn.transaction():
            child = conn.execute(
                "UPDATE items SET n = n + 1 WHERE account_id = %s AND item_no = %s RETURNING n", item
            ).fetchall()
            parent = conn.execute(
                "UPDATE accounts SET version = version + 1 WHERE account_id = %s RETURNING version", item[:1]
            ).fetchall()
            expect(child, [(self.rows.items[item] + 1,)], "child before parent")
            expect(parent, [(after.version,)], "parent after child")

        def effect() -> None:
            self.rows.items[item] += 1
            self.rows.accounts[item[0]] = after

        return effect

    def upsert_item(self, conn: Conn) -> Effect:
        """A child that is there or not."""
        item = (self._own()[0], self.chance.randrange(4))
        after = self.rows.items.get(item, 0) + 1
        done = conn.execute(
            "INSERT INTO items AS i (account_id, item_no, n) VALUES (%s, %s, 1)"
            " ON CONFLICT (account_id, item_no) DO UPDATE SET n = i.n + 1 RETURNING n",
            item,
        ).fetchall()
        expect(done, [(after,)], "upsert of a child")
        return lambda: self.rows.items.update({item: after})

    def delete_item(self, conn: Conn) -> Effect:
        """A child alone."""
        item = self.chance.choice(list(self.rows.items))
        done = conn.execute("DELETE FROM items WHERE account_id = %s AND item_no = %s RETURNING n", item)
        expect(done.fetchall(), [(self.rows.items[item],)], "delete of a child")
        return lambda: void(self.rows.items.pop(item))

    def delete(self, conn: Conn) -> Effect:
        """Parents with all their children."""
        keys = self._own(self.chance.choice((1, 1, 20)))
        done = conn.execute(
            "DELETE FROM accounts WHERE account_id = ANY(%s) RETURNING account_id, slot, n, version", [keys]
        ).fetchall()
        expect(done, [(k, *self.rows.accounts[k]) for k in keys], "delete")

        def effect() -> None:
            for key in keys:
                del self.rows.accounts[key]
            for item in [i for i in self.rows.items if i[0] in keys]:
                del self.rows.items[item]

        return effect

    def change_key(self, conn: Conn) -> Effect:
        """An update of the key itself."""
        old, new = self.chance.choice(self.rows.without_items()), self._fresh()
        done = conn.execute(
            "UPDATE accounts SET account_id = %s WHERE account_id = %s RETURNING slot, n, version", [new, old]
        ).fetchall()
        expect(done, [self.rows.accounts[old]], "change of key")
        return lambda: self.rows.accounts.update({new: self.rows.accounts.pop(old)})

    def swap_unique(self, conn: Conn) -> Effect:
        """Two rows exchange the value of a unique column in one statement."""
        one, other = self._own(2)
        first, second = self.rows.accounts[one].slot, self.rows.accounts[other].slot
        done = conn.execute(
            "UPDATE accounts SET slot = CASE account_id WHEN %s THEN %s::bigint ELSE %s::bigint END"
            " WHERE account_id = ANY(%s) RETURNING account_id, slot",
            [one, second, first, [one, other]],
        ).fetchall()
        expect(done, [(one, second), (other, first)], "swap")

        def effect() -> None:
            for key, slot in ((one, second), (other, first)):
                self.rows.accounts[key] = self.rows.accounts[key]._replace(slot=slot)

        return effect


def void(_: object) -> None:
    """Nothing, of an effect that has a value."""
