"""Use so much of one processor, and do nothing with it: ``python -m bench.burner --share 0.4 --seconds 4``.

It stands for a load generator beside a service that is not asked by it.
"""

from __future__ import annotations

import time

import click

SLICE_S = 0.002


@click.command(help=__doc__)
@click.option("--share", default=0.5, show_default=True, help="of one processor, as far as there is so much to be had")
@click.option("--seconds", default=3.0, show_default=True)
def main(share: float, seconds: float) -> None:
    """Burn and sleep by turns."""
    began = time.monotonic()
    used = time.process_time()
    while (now := time.monotonic()) < began + seconds:
        if time.process_time() - used < share * (now - began):
            _burn()
        else:
            time.sleep(SLICE_S)


def _burn() -> None:
    until = time.process_time() + SLICE_S
    while time.process_time() < until:
        pass


if __name__ == "__main__":
    main()
