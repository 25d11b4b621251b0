"""The kinds, a family a file; engine.kinds finds them by looking through this folder."""
