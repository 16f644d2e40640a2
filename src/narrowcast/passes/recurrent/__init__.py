"""Recurrent operators step by step: what one computes, and a loop over all of them."""
