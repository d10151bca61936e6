"""How the admin writes times: one form, which says that it is UTC. See FORMAT_MODULE_PATH."""

DATETIME_FORMAT = r"Y-m-d H:i:s \U\T\C"
DATE_FORMAT = "Y-m-d"
