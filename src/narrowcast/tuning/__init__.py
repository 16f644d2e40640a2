"""The search for a better file: which trials to make, which of them to keep, and what is remembered of them.

It knows trials and their figures. Who carries a trial out is handed in (`search.Laboratory`).
"""
