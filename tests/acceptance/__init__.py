"""The way of a user, on whole platforms. A package, so that fixtures can end with its last test."""
