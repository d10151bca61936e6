"""Private servers for the tests: started on free ports and sockets, ended by pid, nothing left behind."""

from tests.servers.postgres import Postgres
from tests.servers.process import Server, ServerMissing, free_port
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis, Valkey

__all__ = ["Postgres", "RabbitMQ", "Redis", "Server", "ServerMissing", "Valkey", "free_port"]
