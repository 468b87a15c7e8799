"""Stand-ins for two official Pulumi plugins that cannot be had where the tests run. Product code knows none of them."""
