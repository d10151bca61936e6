"""Wardroom's settings, all from the environment.

The code does not know whether it runs embedded (`manage.py up`) or deployed (a Procfile): only the URLs differ. A
missing URL refuses the start; there is no silent fall-back.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured

from config import addresses, brokers, schedule
from core import environment, limits
from core.display import configured_redaction, redaction
from core.limits import LIMITS

BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = environment.flag("WARDROOM_DEBUG")
SECRET_KEY = environment.required("SECRET_KEY", "It signs staff sessions. Generate 50 random characters, once.")
SECRET_KEY_FALLBACKS = environment.words("SECRET_KEY_FALLBACKS")

# Every printed or returned address is built from this, never from a Host header.
WARDROOM_URL = environment.required("WARDROOM_URL", "The address of this server for people and children.").rstrip("/")
_address = addresses.public(WARDROOM_URL)
# Embedded: everything on this host, served over plain HTTP by `manage.py up`.
EMBEDDED = environment.flag("WARDROOM_EMBEDDED")
if DEBUG and not EMBEDDED:
    raise ImproperlyConfigured(
        "WARDROOM_DEBUG shows settings to anybody who causes an error. Unset it in a deployment."
    )
ALLOWED_HOSTS = environment.words("ALLOWED_HOSTS") or [str(_address.hostname)]
CSRF_TRUSTED_ORIGINS = [f"{_address.scheme}://{_address.netloc}"]

INSTALLED_APPS = [
    "config",
    "server",
    "orchestration",
    "approvals",
    "mailbox",
    "ledger",
    "accounts",
    "core.adminsite",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "channels",
    "csp",
    "axes",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.login.sign_in.IdleLimit",
    "core.web.csrf.FreshToken",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

limits.load(environment.mapping(limits.NAME))
redaction.load(environment.mapping(configured_redaction.NAME))
#: The known model providers and their types, for `orchestration.model_routing`.
WARDROOM_PROVIDERS = environment.texts("WARDROOM_PROVIDERS")
#: The order in which installed runners are asked, for `orchestration.runners.registry`.
WARDROOM_RUNNERS = environment.words("WARDROOM_RUNNERS")

#: Webhooks may use http, any port, this host and private networks. For a Wardroom inside one network, and for tests.
WEBHOOKS_PRIVATE = environment.flag("WEBHOOKS_PRIVATE")

# --- mail and chat ------------------------------------------------------------------------------------------
_mail = addresses.mail(environment.text("EMAIL_URL"))
EMAIL_HOST, EMAIL_PORT = _mail["EMAIL_HOST"], _mail["EMAIL_PORT"]
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _mail["EMAIL_HOST_USER"], _mail["EMAIL_HOST_PASSWORD"]
EMAIL_USE_SSL, EMAIL_USE_TLS = _mail["EMAIL_USE_SSL"], _mail["EMAIL_USE_TLS"]
EMAIL_TIMEOUT = LIMITS.delivery_timeout_secs
DEFAULT_FROM_EMAIL = environment.text("EMAIL_FROM", f"Wardroom <wardroom@{_address.hostname}>")
#: The chat rooms that people may choose, and their addresses, which are secrets.
CHAT_URLS = environment.texts("CHAT_URLS")

# --- the database ------------------------------------------------------------------------------------------
_database_url = environment.required(
    "DATABASE_URL", "Use postgres://... (or start an embedded Wardroom with `manage.py up`)."
)
_database = addresses.database(_database_url)
_options: dict[str, Any] = dict(_database.get("OPTIONS") or {})
_pgbouncer = str(_options.pop("pgbouncer", "")).lower() in ("true", "1")
if _database["ENGINE"].endswith("sqlite3"):
    # IMMEDIATE: a transaction that may write takes the write lock at its start, so none fails half-way with "locked".
    # FULL: an answered commit survives a power cut.
    _options |= {
        "timeout": LIMITS.write_lock_secs,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; "
        f"PRAGMA busy_timeout={round(1000 * LIMITS.write_lock_secs)};",
    }
else:
    _options |= {
        "connect_timeout": 3,
        "keepalives": 1,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
        # Constant statements are parsed and planned once per connection. A pooler that shares connections (PgBouncer in
        # transaction mode, before 1.21) does not support this: set 0 there, or `?pgbouncer=true` in the URL.
        "prepare_threshold": 5 if environment.flag("WARDROOM_DB_PREPARE", default=True) and not _pgbouncer else None,
        # After an outage the pool would double its pauses for five minutes before it tries the database again.
        "pool": {
            "min_size": 0,
            "max_size": environment.number("WARDROOM_DB_POOL", 10, low=1, high=1000),
            "timeout": 10,
            "reconnect_timeout": 5,
        },
    }
DATABASES = {
    "default": {
        **_database,
        "OPTIONS": _options,
        "ATOMIC_REQUESTS": False,
        # A cursor that outlives its statement is lost when a pooler gives the next statement another connection. Code
        # that reads many rows uses batches (core/db/batches.py).
        "DISABLE_SERVER_SIDE_CURSORS": True,
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Redis or Valkey, and the queue ------------------------------------------------------------------------
# Always needed, also with RabbitMQ as the queue: the hub of wake-ups uses it.
REDIS_URL = brokers.redis_url(
    addresses.checked(
        "REDIS_URL",
        environment.required("REDIS_URL", "Wake-ups between processes need Redis or Valkey, 6.2 or newer."),
        *("redis", "rediss", "unix"),
    ),
    verify=environment.flag("REDIS_TLS_VERIFY", default=True),
)
_cloudamqp = addresses.queue("CLOUDAMQP_URL", environment.text("CLOUDAMQP_URL"))
BROKER_URL = addresses.queue("BROKER_URL", environment.text("BROKER_URL")) or _cloudamqp or brokers.queue_url(REDIS_URL)
_quorum = BROKER_URL.startswith("amqp")
# The source of messages for `manage.py ingest`: none, unless there is a RabbitMQ.
INGEST_URL = addresses.rabbitmq("INGEST_URL", environment.text("INGEST_URL")) or brokers.rabbitmq(
    BROKER_URL, _cloudamqp
)

CELERY_BROKER_URL = BROKER_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_TIME_LIMIT = 120
CELERY_TASK_SOFT_TIME_LIMIT = 90
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# Seconds for tasks to end on SIGTERM (REMAP_SIGTERM=SIGQUIT), and for the jobs of runner plug-ins. Unfinished tasks
# return to the queue.
WARDROOM_DRAIN_SECS = float(environment.number("WARDROOM_DRAIN_SECS", 8, low=0, high=3600))
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = WARDROOM_DRAIN_SECS
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# None: no limit. A worker that gives up would be missed by nobody.
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_POOL_LIMIT = 4
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_max": 0.5}
CELERY_TIMEZONE = "UTC"
if _quorum:
    CELERY_TASK_DEFAULT_QUEUE_TYPE = "quorum"
    CELERY_TASK_DEFAULT_EXCHANGE_TYPE = "topic"
    CELERY_WORKER_DETECT_QUORUM_QUEUES = True
    CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {"confirm_publish": True, "connect_timeout": 2}
else:
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "visibility_timeout": 300,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
        "global_keyprefix": "wardroom:",
    }

CELERY_BEAT_SCHEDULE = schedule.schedule(LIMITS)
CELERY_BEAT_SCHEDULER = "server.liveness:WatchedScheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 5

# --- staff, sessions, headers ------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "/admin/login/"
# The login locks for a while after this many wrong passwords for one account from one address. Both count together: by
# the address alone, everybody behind one proxy would be locked out; by the account alone, anybody could lock it.
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = int(LIMITS.login_failures)
AXES_COOLOFF_TIME = timedelta(seconds=LIMITS.login_lockout_secs)
AXES_LOCKOUT_CALLABLE = "accounts.login.sign_in.locked_out"
AXES_RESET_ON_SUCCESS = True
# A try during the lockout writes nothing and does not extend it.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
# The target of a login with a refused `next`.
LOGIN_REDIRECT_URL = "/admin/"
# Applies until `accounts.login.sign_in` has seen the first page after a login.
SESSION_COOKIE_AGE = int(LIMITS.login_idle_secs)
CSRF_FAILURE_VIEW = "core.web.csrf.refused"
_secure = _address.scheme == "https"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _secure
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if _secure:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

# --- REST ---------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.authentication.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["accounts.permissions.Scoped"],
    "DEFAULT_PARSER_CLASSES": ["core.web.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["core.web.renderers.StructRenderer"],
    "DEFAULT_SCHEMA_CLASS": "core.web.openapi.operation.Operation",
    "EXCEPTION_HANDLER": "core.web.problems.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Wardroom",
    "DESCRIPTION": "Spawn, watch, message and gate AI-agent children.",
    "VERSION": "v1",
    "OAS_VERSION": "3.1.0",
    "POSTPROCESSING_HOOKS": ["config.openapi.add_routes", "core.web.openapi.operation.add_components"],
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "PATH_CONVERTER_OVERRIDES": {"any_uuid": UUID},
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
}

# --- the rest -----------------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
FORMAT_MODULE_PATH = "config.formats"
APPEND_SLASH = True
STATIC_URL = "/static/"
STATIC_ROOT = Path(environment.text("WARDROOM_STATIC_ROOT", str(BASE_DIR / "staticfiles")))
WHITENOISE_USE_FINDERS = EMBEDDED
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if EMBEDDED
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
DATA_FOLDER = Path(environment.text("WARDROOM_DATA", "var")).absolute()
_level = environment.choice("LOG_LEVEL", "INFO", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "redact": {"()": "core.display.redaction.TokenFilter"},
        "broker": {"()": "core.display.broker_lines.BrokerFilter"},
        "refusal": {"()": "core.display.refusal_lines.RefusalFilter"},
    },
    "formatters": {
        "line": {
            "()": "core.display.redaction.LineFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
        }
    },
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["redact", "broker"]},
        "nothing": {"class": "logging.NullHandler"},
    },
    "root": {"handlers": ["stderr"], "level": _level},
    # axes tells at INFO each step of each login, four lines for one.
    "loggers": {
        "axes": {"level": "WARNING" if _level == "INFO" else _level},
        "django.request": {"filters": ["refusal"]},
        # Their lines hold the addresses of chat rooms, which are secrets. Outcomes are in the rows of deliveries.
        "apprise": {"handlers": ["nothing"], "propagate": False},
        "urllib3": {"level": "INFO"},
    },
}
