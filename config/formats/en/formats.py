"""The form of times in the admin: one form, marked as UTC. See FORMAT_MODULE_PATH."""

DATETIME_FORMAT = r"Y-m-d H:i:s \U\T\C"
DATE_FORMAT = "Y-m-d"
