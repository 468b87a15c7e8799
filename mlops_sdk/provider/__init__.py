"""Pulumi from inside: the SDK's own resources, as a provider on `pulumi.provider.experimental`.

`server` speaks with the engine, a module a resource type does the work, `resources` has the classes that the
program uses. Connections come from the environment's operator file, never from inputs. A resource's `read`
says "gone" only on a positive answer of its server. The program imports `resources` and `programs` only.
"""
