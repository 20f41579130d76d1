"""Two workers on one cloud in memory, whose calls go wrong as Hypothesis draws, crashes included.

After each call it is looked at that no data is lost, and that nothing is shown that is not whole.  At the end an audit
must name everything that is left, and two repairs must leave nothing.
"""
