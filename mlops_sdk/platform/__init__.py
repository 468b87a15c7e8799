"""The embedded local platform: dependency environments, processes, ports and health.

Everything here listens on 127.0.0.1 and keeps its files in the environment's own folder. This
package must not know what a release is, which of them is live, or what Pulumi asked for: it runs
programs and says how they are.
"""
