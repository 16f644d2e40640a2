"""The layers, one module per family; `registry` imports all modules of this folder."""
