"""The process of the command line: `p3host`, or `python -m p3host`."""

from __future__ import annotations

import gc

gc.disable()  # imports make nothing that a collection would find


def run() -> None:
    from .cli import main

    gc.freeze()
    gc.enable()
    main(prog_name="p3host")


if __name__ == "__main__":
    run()
