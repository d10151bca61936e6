"""The peer of benchmarks.answers: a DRF view that saves a row and calls `channel_layer.send`, and a stock consumer.

As in the documentation of Channels, with channels_redis, on uvicorn. The first frame tells a child the name of its
channel.
"""

from __future__ import annotations

import os
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks._layer_settings"

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from asgiref.sync import async_to_sync  # noqa: E402 - apps must be loaded first
from channels.generic.websocket import AsyncJsonWebsocketConsumer  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework.authentication import TokenAuthentication  # noqa: E402
from rest_framework.parsers import JSONParser  # noqa: E402
from rest_framework.permissions import IsAuthenticated  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402

from approvals.models import Approval  # noqa: E402


class Decide(APIView):
    authentication_classes = [TokenAuthentication]
    permission_classes = [IsAuthenticated]
    parser_classes = [JSONParser]

    def post(self, request: Request, pk: str) -> Response:
        row = Approval.objects.get(pk=pk)
        row.note = request.data["decision"]
        row.save(update_fields=["note"])
        frame = {"type": "answered", "id": str(row.pk), "decision": row.note}
        async_to_sync(get_channel_layer().send)(request.data["channel"], frame)
        return Response({"id": str(row.pk), "decision": row.note})


class Child(AsyncJsonWebsocketConsumer):
    async def connect(self) -> None:
        await self.accept()
        await self.send_json({"channel": self.channel_name})

    async def answered(self, event: dict[str, Any]) -> None:
        await self.send_json(event)


urlpatterns = [path("approvals/<uuid:pk>/decide", Decide.as_view())]
application = ProtocolTypeRouter({"http": django_application, "websocket": URLRouter([path("child", Child.as_asgi())])})
