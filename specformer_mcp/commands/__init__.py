"""The subcommands of `specformer`, one module each.

A module offers `add_arguments(parser)` and `run(args) -> int` (the exit code), and imports what is
heavy only inside `run`.
"""
