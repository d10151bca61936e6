from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('ledger', '0002_webhooks'),
    ]

    operations = [
        migrations.AddField(
            model_name='lane',
            name='lease',
            field=models.UUIDField(null=True),
        ),
    ]
