"""`python -m mlops_sdk.cli` is `mlops`."""

from mlops_sdk.cli.run import main

main()
