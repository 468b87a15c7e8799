"""Stands for Pulumi's plugin `gcp` under the real engine; see README.md of the folder above."""
