"""What answers with models: a release's service, and the model server `mlops serve`.

The modules of this folder are the building blocks of a release's service; it uses what its settings name and nothing
else: no ledger, no stack, no other release. `slots` is what serves, `loading` prepares it, `hot` answers predictions,
`server` is the rest of the stand-alone server; `prediction_log`, `drift` and `template` are told of what was answered.
Importing this package must stay light; scikit-learn is imported by loading a model that needs it.
"""
