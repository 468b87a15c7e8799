"""An environment that is up, as everything else here sees it: opened, its release code in a process of its own."""
