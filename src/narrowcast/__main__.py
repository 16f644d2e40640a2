"""`python -m narrowcast` and the `narrowcast` script."""

from __future__ import annotations


def main() -> None:
    """Runs the command line."""
    from narrowcast.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
