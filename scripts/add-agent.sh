#!/bin/sh
# Adds an agent on this machine: add-agent.sh (--hub URL | --repo CLONE) [--id ID] [--name NAME] [OPTION of `agentcom agent add` ...]
# Without --id it is made of the name; without both, names are suggested. AGENTCOM_TOKEN: the admin's token or an invite.
set -eu

usage="usage: add-agent.sh (--hub http://HOST:4000 | --repo CLONE) [--id ID] [--name NAME] [options of agentcom agent add]"
usage() {
    echo "$usage" >&2
    exit 64
}

id='' name='' where='' count=$#
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
    -h | --help)
        echo "$usage"
        exit 0
        ;;
    --hub | --hub=* | --repo | --repo=*)
        where=$word
        set -- "$@" "$word"
        ;;
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
if [ -z "$where" ]; then
    echo "add-agent.sh: say where the agent is wanted, by --hub http://HOST:4000 or --repo CLONE" >&2
    exit 64
fi
[ -z "$name" ] || set -- --name "$name" "$@"

here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
agentcom=$here/.venv/bin/agentcom
[ -x "$agentcom" ] || agentcom=agentcom
exec "$agentcom" agent add "$id" "$@"
