"""What is used of python-cinderclient, which ships no types."""
