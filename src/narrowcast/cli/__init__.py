"""The command line: one file a command, each from options to one api call to one report.

`app` finds the commands, `command` is what they have in common (examples, errors, exit codes), `options` holds the
options that several share, `progress` the bar and `output` the way to the screen. None of these modules imports more
than click before a command runs.
"""
