"""From one environment to the next: what was verified there, what is blocked, and which way a release may go."""
