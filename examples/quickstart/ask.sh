#!/bin/sh
# What does the service of a region say? `ask.sh region1`
LOCKSTEP_ROOT="$(dirname "$0")/regions/${1:?name a region}" && export LOCKSTEP_ROOT
exec "$LOCKSTEP_ROOT/current/ask.sh"
