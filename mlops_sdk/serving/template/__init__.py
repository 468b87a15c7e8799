"""The template API: train, predict, evaluate and check drift over HTTP, with data in the body, by URI or by SQL.

`training` and `train_process` run in a process of their own. It must not touch what the server serves: a new version is
served when somebody loads it.
"""
