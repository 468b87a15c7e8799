"""The tables of an RFM release. The SDK hashes what decides their content, and builds only what changed.

It must not touch a server. `customers`, `scores` and `segments` are models of the dbt project beside this file;
`rfm_daily` is what the job of `job.py` fills, a date at a time.
"""

from sqlalchemy import BigInteger, Column, Date, Integer, MetaData, Numeric, Table, Text

from mlops_sdk.state import Derived, Forked, Source, SqlModel, State
from mlops_sdk.state.marks import marks_of

DBT = "pipelines/rfm/dbt"
# Another number of purchases, or another sum of them, is another table to build.
PURCHASES = Source("purchases", "SELECT concat_ws(' ', count(*), sum(amount), max(bought_on)) FROM purchases")

_metadata = MetaData()

purchases = Table(
    "purchases",
    _metadata,
    Column("purchase_id", BigInteger, primary_key=True, autoincrement=False),
    Column("customer_id", BigInteger, nullable=False),
    Column("bought_on", Date, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("amount", Numeric(12, 2), nullable=False),
)

customers = Table(
    "customers",
    _metadata,
    Column("customer_id", BigInteger, primary_key=True, autoincrement=False),
    Column("recency_days", Integer, nullable=False),
    Column("age_days", Integer, nullable=False),
    Column("frequency", Integer, nullable=False),
    Column("monetary", Numeric(14, 2), nullable=False),
)


def _scored(name: str, *key: "Column[object]") -> Table:
    return Table(
        name,
        _metadata,
        *key,
        Column("customer_id", BigInteger, primary_key=True, autoincrement=False),
        Column("recency_days", Integer, nullable=False),
        Column("frequency", Integer, nullable=False),
        Column("monetary", Numeric(14, 2), nullable=False),
        Column("recency_score", Integer, nullable=False),
        Column("frequency_score", Integer, nullable=False),
        Column("monetary_score", Integer, nullable=False),
        Column("segment", Text, nullable=False),
    )


scores = _scored("scores")

segments = Table(
    "segments",
    _metadata,
    Column("segment", Text, primary_key=True),
    Column("customers", Integer, nullable=False),
    Column("monetary", Numeric(16, 2), nullable=False),
    Column("mean_recency_days", Numeric(10, 2), nullable=False),
)

rfm_daily = _scored("rfm_daily", Column("run_date", Date, primary_key=True))

# Rows of a date follow from the release's SQL: after a rollback the earlier release's own stand again.
_daily = Forked(rfm_daily, policy="discard", dated="run_date")

STATE = State(
    Derived(purchases, builder="pipelines.rfm.purchases:build_purchases", sources=(PURCHASES,)),
    Derived(customers, builder=SqlModel(DBT), tables=("purchases",), parameters=("observed_until",)),
    Derived(scores, builder=SqlModel(DBT), tables=("customers",)),
    Derived(segments, builder=SqlModel(DBT), tables=("scores",)),
    _daily,
    marks_of(_daily),
)
