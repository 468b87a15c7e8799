"""Deploy, and rollback: the same way aimed at an earlier release; and the plan for who only looks."""
