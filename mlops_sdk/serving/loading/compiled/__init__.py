"""Predictors in numpy for the models that most teams serve: linear ones and scikit-learn's tree ensembles.

A compiled predictor is arrays and a few words, so a server needs neither scikit-learn nor the pickle. It is used only
after a parity check against the model itself (`parity`). It must not talk to a server.
"""
