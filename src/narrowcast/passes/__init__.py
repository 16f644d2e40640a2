"""Rewriting in place: `canonicalize` for any target, `decompose` for what one lacks, `layout` for the order of axes."""
