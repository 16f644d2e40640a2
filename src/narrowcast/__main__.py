"""`python -m narrowcast` and the `narrowcast` script."""

from __future__ import annotations

from narrowcast.cli import signals


def main() -> None:
    """Runs the command line, which takes some time to import."""
    signals.catch()
    from narrowcast.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
