"""What happened: the record of a run on disk, and what is made of records: tables, plots, reports."""
