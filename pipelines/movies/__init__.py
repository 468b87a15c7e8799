"""The movie training pipeline: from an immutable extract of the warehouse to a registered model, or a reason why not.

extract -> validate -> load raw -> prepare -> train -> evaluate -> validate the model -> register. Steps are plain
functions, a file each; `flow.py` strings them together under Prefect.
"""
