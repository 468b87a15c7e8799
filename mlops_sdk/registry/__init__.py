"""MLflow: which model version a release means, and its artifact on this machine.

Models come from the project's MLflow registry only. Importing this package must not import mlflow.
"""
