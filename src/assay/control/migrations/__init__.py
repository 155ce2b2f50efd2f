"""Steps of the control database's schema, oldest first, run by Alembic."""
