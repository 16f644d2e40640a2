"""`narrowcast completion`: the script that teaches a shell to complete narrowcast's options."""

from __future__ import annotations

import click

from narrowcast.cli.command import Command

SHELLS = ("bash", "zsh", "fish")


@click.command(
    "completion",
    cls=Command,
    short_help="Print the script for your shell.",
    examples=[
        'eval "$(narrowcast completion bash)"                                     # in ~/.bashrc',
        'eval "$(narrowcast completion zsh)"                                      # in ~/.zshrc',
        "narrowcast completion fish > ~/.config/fish/completions/narrowcast.fish",
    ],
)
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the script that completes commands and options in your shell."""
    from click.shell_completion import get_completion_class

    from narrowcast.cli.app import cli

    completion = get_completion_class(shell)
    if completion is None:
        raise click.UsageError(f"click has no completion for {shell}")
    click.echo(completion(cli, {}, "narrowcast", "_NARROWCAST_COMPLETE").source())
