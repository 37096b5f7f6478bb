#!/bin/sh
# A service that needs no network: asked by SIGUSR1, it writes its greeting into the file `answer`.
answer() {
  cat greeting >"$LOCKSTEP_ROOT/answer.new" && mv "$LOCKSTEP_ROOT/answer.new" "$LOCKSTEP_ROOT/answer"
}
stop() {
  rm -f "$LOCKSTEP_ROOT/pid"
  kill "$!" 2>/dev/null
  exit 0
}
trap answer USR1
trap stop TERM
echo "$$" >"$LOCKSTEP_ROOT/pid"
# `wait` is what a signal can interrupt.
while :; do
  sleep 60 &
  wait "$!"
  kill "$!" 2>/dev/null
done
