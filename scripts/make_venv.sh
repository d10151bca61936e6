#!/bin/sh
# make_venv.sh PYTHON FOLDER: makes the virtual environment, or says in one line what is missing.
set -eu
python=$1
folder=$2

command -v "$python" >/dev/null 2>&1 || {
    echo "Wardroom needs Python 3.11, and $python was not found: install it, or name it with PYTHON=/path/to/python3.11." >&2
    exit 1
}
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
    echo "Wardroom runs on Python 3.11, and $python is $("$python" -V 2>&1): name another with PYTHON=/path/to/python3.11." >&2
    exit 1
}
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "Python's venv module is missing: run \"apt-get install python3.11-venv\" as root." >&2
        exit 1
    fi
    echo "Installing python3.11-venv ..."
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq --no-install-recommends python3.11-venv >/dev/null
fi
echo "Making a virtual environment in $folder ..."
"$python" -m venv "$folder"
