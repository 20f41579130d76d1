"""How strong the tests of the core are: it is changed in small ways, and they must notice."""
