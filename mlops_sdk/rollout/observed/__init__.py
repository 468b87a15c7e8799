"""What stands in an environment: seen for a plan, held against the ledger, judged for a way back. Changes nothing."""
