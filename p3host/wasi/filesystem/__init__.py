"""Files and directories, as far as both versions of `wasi:filesystem` have them in common."""
