"""The run record on disk: schema, migrations and discovery of run folders."""
