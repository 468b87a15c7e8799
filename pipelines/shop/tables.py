"""The tables of both pipelines. Their names differ, so one schema has them side by side. It must not touch a server."""

from mlops_sdk.state import State
from pipelines.recommender.tables import STATE as RECOMMENDER
from pipelines.rfm.tables import STATE as RFM

STATE = State(*RECOMMENDER.tables, *RFM.tables)
