"""The agent: one background process an environment. It carries, collects, turns back, observes, and shows a page.

`duty` says what a duty is, `duties` which there are, `runner` runs them, `serve` is the process, `page` the web page.
It must not decide what is live, and never takes the lease from a living deployer.
"""
