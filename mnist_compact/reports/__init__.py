"""Reports made of run records: tables, queries, groups, plots and the HTML page."""
