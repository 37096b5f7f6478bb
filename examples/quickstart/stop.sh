#!/bin/sh
# Ends the services of the quickstart and forgets them.
cd "$(dirname "$0")" || exit 1
for pid in regions/*/pid; do
  [ -f "$pid" ] && kill "$(cat "$pid")" 2>/dev/null
done
rm -rf regions
