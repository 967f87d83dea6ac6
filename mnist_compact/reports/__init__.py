"""Reports on run records: tables, queries, grouping, plots and the HTML page."""
