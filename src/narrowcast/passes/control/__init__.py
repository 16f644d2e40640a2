"""Control flow in one spelling: closed nodes, whose graphs read nothing but what they are handed.

`close` makes them of ONNX's If, Loop and Scan; `settle` canonicalises the graphs inside and works out what comes out of
them; `open_up` spells them as ONNX again, for ONNX Runtime. To every other pass they are operators like any.

    narrowcast::If(condition, *captured)
        then_branch, else_branch: graph(*captured) -> outputs
    narrowcast::Loop(trips or none, condition or none, *states, *captured), states: how many
        body: graph(step, condition, *states, *captured) -> condition, *states, *rows
"""

from __future__ import annotations

from narrowcast.dialect.control import all_graphs, bodies_of, is_closed
from narrowcast.passes.control.bodies import settle
from narrowcast.passes.control.close import close

__all__ = ["all_graphs", "bodies_of", "close", "is_closed", "settle"]
