"""Sphinx's settings; every build starts by writing the pages that follow from the package."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import check_links  # noqa: E402 (in this folder, which is on the path from here on)
import generate  # noqa: E402 (as above)
from docutils.writers.html5_polyglot import HTMLTranslator  # noqa: E402 (as above)

import study  # noqa: E402 (as above)

project = "study"
author = "The maintainers of compute-access-study"
release = version = study.__version__
extensions = ["sphinx.ext.autodoc", "numpydoc", "myst_nb"]
exclude_patterns = ["generated/*.inc", "_build"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
html_theme = "pydata_sphinx_theme"
html_title = "study"
html_static_path = ["_static"]
html_css_files = ["study.css"]
html_show_sourcelink = False
# Words of options and code stand in tables and lists too: --address is no dash, and quotes are to be copied.
smartquotes = False
html_theme_options = {"show_prev_next": False, "navigation_with_keys": False, "show_nav_level": 1}
ALONE = (
    *(
        "get_started",
        "own_data",
        "which_design",
        "which_to_trust",
        "from_r_and_stata",
        "several_machines",
        "extend",
    ),
    "generated/commands",
    "generated/findings",
)
html_sidebars = {page: [] for page in ALONE}
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"
# Every page shows what this version prints. The notebooks are executed by the generator, in their folder.
nb_execution_mode = "force"
nb_execution_excludepatterns = ["generated/notebooks/*"]
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_output_stderr = "remove-warn"
nb_merge_streams = True

generate.write(HERE / "generated")


def setup(app: object) -> None:
    """Write formulas as MathML, which needs no network, and check every internal link once the pages stand."""
    visits = {name: (getattr(HTMLTranslator, f"visit_{name}"), None) for name in ("math", "math_block")}
    app.add_html_math_renderer("mathml", visits["math"], visits["math_block"])
    app.connect("build-finished", check_links.after_build)
