#!/bin/sh
# Adds an agent on this machine: add-agent.sh --hub http://HOST:4000 [--id ID] [--name NAME] [OPTION of `agentcom agent add` ...]
# Without --id it is made of the name; without both, names are suggested. AGENTCOM_TOKEN: the admin's token or an invite.
set -eu

usage() {
    echo "usage: add-agent.sh --hub http://HOST:4000 [--id ID] [--name NAME] [options of agentcom agent add]" >&2
    exit 64
}

id='' name='' count=$#
while [ "$count" -gt 0 ]; do
    word=$1
    shift
    count=$((count - 1))
    case $word in
    --id | --name)
        [ "$count" -gt 0 ] || usage
        if [ "$word" = --id ]; then id=$1; else name=$1; fi
        shift
        count=$((count - 1))
        ;;
    -h | --help) usage ;;
    *) set -- "$@" "$word" ;;
    esac
done

if [ -z "$id" ] && [ -n "$name" ]; then
    id=$(printf '%s' "$name" | tr '[:upper:]' '[:lower:]' | tr -cs 'a-z0-9' '-' | sed 's/^-*//; s/-*$//' | cut -c1-64)
fi
if [ -z "$id" ]; then
    host=$(uname -n | tr '[:upper:]' '[:lower:]' | tr -cs 'a-z0-9' '-' | sed 's/^-*//; s/-*$//' | cut -c1-40)
    echo "add-agent.sh: name the agent with --id, for example $host-mind, loash, gcu or $(id -un | tr -cd 'a-z0-9')-mind" >&2
    exit 64
fi
[ -z "$name" ] || set -- --name "$name" "$@"

here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
agentcom=$here/.venv/bin/agentcom
[ -x "$agentcom" ] || agentcom=agentcom
exec "$agentcom" agent add "$id" "$@"
