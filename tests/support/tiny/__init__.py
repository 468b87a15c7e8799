"""A release without models for tests of the deployer: copied into a clone as `pipelines/tiny`."""
