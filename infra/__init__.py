"""The Pulumi program: what an environment consists of. Resources only; it talks to no server itself."""
