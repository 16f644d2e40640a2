"""Edits of a network, between reading and canonicalisation: names and tensors are those of the source.

`document` reads edits and carries them out, each by an action of `nodes`, `ports` or `steps`; `sound` holds the graph
to the readers' contract after each. `substitutions` swap canonical operators for others that an accelerator has,
`parameters` are a network's weights as files, and `reduction` looks for the smallest network that still fails.
"""

from __future__ import annotations

from narrowcast.editing import nodes, ports, steps
from narrowcast.editing.document import VERSION, Document, Edit, apply, cuts, edits_of

__all__ = ["VERSION", "Document", "Edit", "apply", "cuts", "edits_of", "nodes", "ports", "steps"]
