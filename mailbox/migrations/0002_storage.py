from django.db import migrations

# Waiting rows are changed at every claim and then go: room for as many beside them, so that a claim stays on its page
# and no index is written again; and a vacuum that comes early and often. Messages stay as they are until they go.
WAITING = (
    "fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, "
    "autovacuum_vacuum_cost_delay = 1"
)
MESSAGE = "autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05"
ADDRESS = "fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 200"


def set_storage(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"ALTER TABLE mailbox_waiting SET ({WAITING})")
        schema_editor.execute(f"ALTER TABLE mailbox_message SET ({MESSAGE})")
        schema_editor.execute(f"ALTER TABLE mailbox_address SET ({ADDRESS})")
        # Ids and names are compared by their bytes: in a language's order a comparison costs many times as much, and
        # every index of theirs is compared at every write.
        for table, column, longest in (("message", "message_id", 256), ("address", "name", 200)):
            schema_editor.execute(
                f'ALTER TABLE mailbox_{table} ALTER COLUMN {column} TYPE varchar({longest}) COLLATE "C"'
            )


class Migration(migrations.Migration):
    dependencies = [("mailbox", "0001_initial")]
    operations = [migrations.RunPython(set_storage, migrations.RunPython.noop)]
