"""`python -m mlops_sdk.provider`: the plugin, without garbage collection.

It lives for seconds, at most for the time of one update, and a collector that looks at 100,000 objects of
freshly imported modules again and again takes a sixth of its start.
"""

import gc

gc.disable()

from mlops_sdk.provider.server import main  # noqa: E402 - the imports are what the line above is for

main()
