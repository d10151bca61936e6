"""The settings of benchmarks.peers.layer: those of the other peer, with a channel layer over Redis."""

from benchmarks._peer_settings import *  # noqa: F403
from config.settings import REDIS_URL

ROOT_URLCONF = "benchmarks.peers.layer"
# Without a limit for the socket: with redis-py's own, an idle consumer dies.
HOSTS = [{"address": REDIS_URL, "socket_timeout": None}]
CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": HOSTS}}}
