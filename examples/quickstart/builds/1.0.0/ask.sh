#!/bin/sh
# Asks the service that runs, and prints what it answers. Fails when nobody answers within a second.
rm -f "$LOCKSTEP_ROOT/answer"
kill -USR1 "$(cat "$LOCKSTEP_ROOT/pid")" || exit 1
for _ in 1 2 3 4 5 6 7 8 9 10; do
  if [ -f "$LOCKSTEP_ROOT/answer" ]; then
    exec cat "$LOCKSTEP_ROOT/answer"
  fi
  sleep 0.1
done
echo "the service does not answer" >&2
exit 1
