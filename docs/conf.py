"""How the pages are built: `nox -s docs`."""

from __future__ import annotations

import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "imagevol"
author = "the imagevol authors"
copyright = author  # noqa: A001 - Sphinx names it so
version = release = version_of("imagevol")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "cliff.sphinxext",
    "bad_days",
    "command_pages",
    "benchtables",
    "byte_ways",
    "decision_diagrams",
    "descriptions",
    "differences",
    "extension_changes",
    "import_diagram",
    "metrics_tables",
    "optionlists",
    "ruletables",
    "schema_tables",
    "storedifferences",
    "suites",
    "unreleased",
    "threat_tables",
    "threats",
    "troubleshooting",
]
exclude_patterns = ["_examples", "_ext"]
smartquotes_action = "qe"  # quotes and ellipses: the dashes of options stay as they are
html_theme = "furo"
html_title = f"imagevol {version}"
html_static_path = ["_static"]
html_css_files = ["imagevol.css"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_mock_imports = ["cinder", "oslo_db", "sqlalchemy"]  # which are not installed where these pages are built
autodoc_typehints = "signature"
default_role = "code"  # single backticks in docstrings are code, as in Markdown
add_module_names = False
python_use_unqualified_type_names = True

# There is no network where these pages are built, so other projects' inventories are not asked.
nitpick_ignore_regex = [
    (
        r"py:.*",
        r"(imagevol_.*\.)?(Facts|Outcome|Outcome_co|SearchStrategy|T)",
    ),  # a type variable has no page, nor has Hypothesis
    (
        r"py:.*",
        r"(abc|collections|concurrent|contextlib|datetime|typing|enum|pathlib|argparse|threading|types|wsgiref)\..*",
    ),
    (
        r"py:.*",
        r"(_pytest|attr|attrs|cinder|cliff|cinderclient|exceptions|glance_store|glanceclient|hypothesis|keystoneauth1|openstack|oslo_config|tooz|webob)\..*",
    ),
]

_SPECIFICATION = re.compile(r"(?<![\w`])\[(clone|base|store|multi|template)\](?![\w`])")


def write_factories_as_python(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str
) -> tuple[str, str] | None:
    """Replace `<factory>`, as dataclasses show a default: no parser reads a signature with it.

    What a strategy of Hypothesis draws is in its name.
    """
    if what == "function" and name.startswith("imagevol_adapters.testing.") and "strategies" in name:
        return signature or "", ""
    return (signature.replace("<factory>", "..."), returns) if signature else None


def leave_out_fields_of_tuples(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of a named tuple: the docstring of the class says what each of them is."""
    return True if str(getattr(obj, "__doc__", "")).startswith("Alias for field number") else None


def link_the_specifications(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Make a link to the glossary of each name of a specification, as `[clone]`, except in examples."""
    for number, line in enumerate(lines):
        if not line.lstrip().startswith(">>>") and not line.startswith("    "):
            lines[number] = _SPECIFICATION.sub(r":ref:`[\1] <source-\1>`", line)


def setup(app: Sphinx) -> None:
    """Tell Sphinx of it."""
    app.connect("autodoc-process-signature", write_factories_as_python)
    app.connect("autodoc-process-docstring", link_the_specifications)
    app.connect("autodoc-skip-member", leave_out_fields_of_tuples)
