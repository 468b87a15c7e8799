"""The building blocks of a release's service: application, models, slot, resent writes, prediction log.

A service uses what its settings name and nothing else: no ledger, no stack, no other release. Importing this
package must stay light; scikit-learn is imported by loading a model that needs it.
"""
