"""Results as text: terminal tables, JSON, CSV and HTML. Nothing is computed here.

`views` turns a result into blocks (tables, facts, notes); `tables` puts blocks on a terminal or into plain text;
`machine` spells results for scripts; `html` makes the page.
"""
