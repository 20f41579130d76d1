"""What is used of python-glanceclient, which ships no types."""

from glanceclient.client import Client as Client
