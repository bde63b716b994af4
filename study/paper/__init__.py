"""Everything that builds ``paper/``: the plan, its answers, exhibits, facts and the report page."""
