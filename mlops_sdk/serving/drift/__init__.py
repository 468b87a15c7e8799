"""Drift of a model's inputs: the sample held out of its training data against what it is asked about.

`statistics` and `decision` are pure; `sample` keeps and reads samples; `window` is fed by the model server; `monitor`
looks at it regularly and tells of what it finds. It must not sit on the reply path.
"""
