#!/bin/sh
# Runs the tests of kind $1 against the accounts service of cluster $2.
set -eu
exec kubectl --context "$2" --namespace accounts exec deploy/accounts -- accounts self-test --only "$1"
