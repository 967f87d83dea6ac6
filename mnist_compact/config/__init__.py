"""The schema of the whole configuration: validation, composition, conversion to plain dataclasses and records."""
