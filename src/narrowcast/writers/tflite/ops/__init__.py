"""How operators become TFLite's: one family a module, one small function an operator or a kind of operator."""
