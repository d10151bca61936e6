"""The control of the idle test: a Channels consumer as it comes, on the core layer of channels_redis as it comes."""

import os

import django
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

settings.configure(
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [os.environ["CONTROL_REDIS_URL"]]},
        }
    }
)
django.setup()

application = AsyncWebsocketConsumer.as_asgi()
